"""Loss terms. Each returns a sum and a count, so that any number of micro-batches and ranks adds up to one big batch.

Formulas are LISA's (model/LISA.py, `dice_loss` and `sigmoid_ce_loss`, at 3cb2d43). Letters: K labelled tokens, J jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from seglm.model.recipe import Recipe
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
    keywords_SV: Tensor | None = None
    """float32 [S, V], how near each slot is to each word (one dummy row if S is 0); None without a keyword term"""


class LossTerm(nn.Module):
    """One term; `recipe` decides what counts."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe

    def count(self, batch: Batch) -> int:
        """What the term's sum is divided by; host only."""
        raise NotImplementedError(f"{type(self).__name__} counts nothing")


class Language(LossTerm):
    """Cross entropy over answer tokens: sum over labelled tokens of -log p(token), counted per token."""

    def count(self, batch: Batch) -> int:
        return batch.labels.shape[0]

    def forward(self, batch: Batch, predicted: Predicted) -> Part:
        labelled = self.count(batch)
        total = cross_entropy(predicted.logits_KV[:labelled].float(), batch.labels, reduction="sum")
        return Part(total, labelled)


class MaskTerm(LossTerm):
    """A loss of every job's mask against its target at the original size, counted per mask.

    With `engine.rejected_masks=peer` a rejected slot counts as a mask of zero logits against an empty target, in every drawn
    frame of its image: constants without a gradient that weaken the other masks' (GSVA, model/modeling_lisa_gsva.py at 618dc79).
    """

    def count(self, batch: Batch) -> int:
        return len(batch.jobs) + len(self._rejected(batch))

    def _rejected(self, batch: Batch) -> list[int]:
        """The drawn frame of every rejected mask that counts."""
        if self.recipe.engine.rejected_masks == "leave_out":
            return []
        return [
            frame
            for slot in batch.slots
            if slot.token == self.recipe.reject_token
            for frame, example in enumerate(batch.frame_example)
            if example == slot.example
        ]

    def forward(self, batch: Batch, predicted: Predicted) -> Part:
        each = [
            self.each(logits.flatten(1), target.flatten(1).float(), _keep(ignore, logits))
            for logits, target, ignore in zip(predicted.masks, batch.masks, batch.ignore, strict=True)
            if logits.shape[0]
        ]
        for frame in self._rejected(batch):
            height, width = batch.sizes[frame]
            blank = torch.zeros((1, height * width), device=predicted.logits_KV.device)
            each.append(self.each(blank, blank, None))
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


class Keyword(LossTerm):
    """KeySeg's alignment: cross entropy of a key's nearness to every word, at the first token of its keyword; per keyword."""

    def count(self, batch: Batch) -> int:
        return sum(slot.word_id != NO_WORD for slot in batch.slots)

    def forward(self, batch: Batch, predicted: Predicted) -> Part:
        assert predicted.keywords_SV is not None, "the keyword term needs a recipe with fusion"
        words = batch.words if len(batch.slots) else batch.words.new_zeros(1)
        total = cross_entropy(predicted.keywords_SV, words, ignore_index=NO_WORD, reduction="sum")
        return Part(total, self.count(batch))


NO_WORD = 0  # `word_id` of a slot without a word
TERMS: dict[str, type[LossTerm]] = {"language": Language, "bce": Bce, "dice": Dice, "keyword": Keyword}


def make_terms(recipe: Recipe) -> nn.ModuleDict:
    """The recipe's terms as modules. Raises ValueError on an unknown name, listing the known ones."""
    names = [term.name for term in recipe.terms]
    unknown = [name for name in names if name not in TERMS]
    if unknown:
        raise ValueError(f"unknown loss terms {unknown}; known are {sorted(TERMS)}")
    return nn.ModuleDict({name: TERMS[name](recipe) for name in names})


def _keep(ignore: Tensor | None, logits: Tensor) -> Tensor | None:
    return None if ignore is None else (~ignore).flatten().to(logits.dtype)


def _total(each: Sequence[Tensor], *, like: Tensor) -> Tensor:
    if not each:
        return torch.zeros((), device=like.device)
    return torch.cat(list(each)).sum()
