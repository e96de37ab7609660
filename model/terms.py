"""Loss terms. Each returns a sum and a count, so that any number of micro-batches and ranks adds up to one big batch.

Formulas are LISA's (model/LISA.py, `dice_loss` and `sigmoid_ce_loss`, at 3cb2d43). Letters: K labelled tokens, J jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from seglm.utils.types import Batch, Part

DICE_SCALE = (
    1000.0  # LISA divides both sums by it against overflow in half precision, which makes eps count for more
)
DICE_EPS = 1e-6


@dataclass(frozen=True)
class Predicted:
    """What a forward hands to the terms."""

    logits_KV: Tensor
    """float [K, V], vocabulary logits at the labelled places (one dummy row if K is 0)"""
    masks: tuple[Tensor, ...]
    """for each drawn frame float32 [jobs of the frame, H, W], logits at the original size"""


class Language(nn.Module):
    """Cross entropy over answer tokens: sum over labelled tokens of -log p(token), counted per token."""

    def count(self, batch: Batch) -> int:
        return batch.labels.shape[0]

    def forward(self, batch: Batch, predicted: Predicted) -> Part:
        labelled = self.count(batch)
        total = cross_entropy(predicted.logits_KV[:labelled].float(), batch.labels, reduction="sum")
        return Part(total, labelled)


class MaskTerm(nn.Module):
    """A loss of every job's mask against its target at the original size, counted per mask."""

    def count(self, batch: Batch) -> int:
        return len(batch.jobs)

    def forward(self, batch: Batch, predicted: Predicted) -> Part:
        each = [
            self.each(logits.flatten(1), target.flatten(1).float(), _keep(ignore, logits))
            for logits, target, ignore in zip(predicted.masks, batch.masks, batch.ignore, strict=True)
            if logits.shape[0]
        ]
        return Part(_total(each, like=predicted.logits_KV), self.count(batch))

    def each(self, logits: Tensor, target: Tensor, keep: Tensor | None) -> Tensor:
        """float [J, pixels] logits, float [J, pixels] target, float [pixels] 1 where the pixel counts -> float [J]."""
        raise NotImplementedError(f"{type(self).__name__} has no formula")


class Bce(MaskTerm):
    """Mean over the pixels that count of the binary cross entropy with logits, per mask."""

    def each(self, logits: Tensor, target: Tensor, keep: Tensor | None) -> Tensor:
        if keep is None:
            return binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
        loss = binary_cross_entropy_with_logits(
            logits, target, weight=keep.expand_as(logits), reduction="none"
        )
        return loss.sum(1) / keep.sum().clamp(min=1)


class Dice(MaskTerm):
    """1 - (2 sum(p t) / s + eps) / (sum(p) / s + sum(t) / s + eps), per mask, with s = 1000 and eps = 1e-6 (LISA)."""

    def each(self, logits: Tensor, target: Tensor, keep: Tensor | None) -> Tensor:
        p = logits.sigmoid()
        if keep is not None:
            p, target = p * keep, target * keep
        overlap = 2 * (p / DICE_SCALE * target).sum(1)
        area = (p / DICE_SCALE).sum(1) + (target / DICE_SCALE).sum(1)
        return 1 - (overlap + DICE_EPS) / (area + DICE_EPS)


TERMS: dict[str, type[nn.Module]] = {"language": Language, "bce": Bce, "dice": Dice}


def make_terms(names: Sequence[str]) -> nn.ModuleDict:
    """The named terms as modules. Raises ValueError on an unknown name, listing the known ones."""
    unknown = [name for name in names if name not in TERMS]
    if unknown:
        raise ValueError(f"unknown loss terms {unknown}; known are {sorted(TERMS)}")
    return nn.ModuleDict({name: TERMS[name]() for name in names})


def _keep(ignore: Tensor | None, logits: Tensor) -> Tensor | None:
    return None if ignore is None else (~ignore).flatten().to(logits.dtype)


def _total(each: Sequence[Tensor], *, like: Tensor) -> Tensor:
    if not each:
        return torch.zeros((), device=like.device)
    return torch.cat(list(each)).sum()
