"""Loss terms. Each says a sum and what it counts, so that any number of micro-batches and ranks adds up to one big batch.

Formulas are LISA's (model/LISA.py, `dice_loss` and `sigmoid_ce_loss`, at 3cb2d43). Letters: K labelled tokens, J jobs, S slots.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from seglm.utils.batch import Batch
from seglm.utils.config import Choice
from seglm.utils.ranges import Weight

if TYPE_CHECKING:
    from torch import Tensor, nn

    from seglm.model.segmenter import Segmenter

DICE_SCALE = (
    1000.0  # LISA divides both sums by it against overflow in half precision, which makes eps count for more
)
DICE_EPS = 1e-6


@dataclass(frozen=True)
class Predicted:
    """What a forward hands to the terms."""

    logits_KV: Tensor
    """float [K, V], vocabulary logits at the labelled places (one dummy row if K is 0)"""
    low_Jhw: Tensor
    """float32 [J, h, w], logits of all jobs on the mask decoder's grid (one dummy row if J is 0)"""
    queries_SC: Tensor
    """float32 [S, C], the slots' projections (one dummy row if S is 0)"""
    enlarged: Callable[[], tuple[Tensor, ...]]
    """makes `masks`; not every term looks at the original pixels"""
    candidates_JKhw: Tensor | None = None
    """float32 [J, K, h, w], every mask of the decoder for each job; the first is `low_Jhw`"""
    shared: dict[object, tuple[Tensor, Tensor, Tensor | None]] = field(default_factory=dict)
    """what several terms compute alike, kept by the first of them"""

    @cached_property
    def masks(self) -> tuple[Tensor, ...]:
        """For each drawn frame float32 [jobs of the frame, H, W], logits at the original size."""
        return self.enlarged()


@dataclass(frozen=True)
class Term(Choice, ABC):
    """One loss term of a recipe."""

    name: ClassVar[str]
    """under which it is logged, and set on the command line (`terms.bce.weight`)"""
    weight: Weight

    def state(self, width: int) -> nn.Module | None:
        """What the term remembers from step to step, in buffers, which are saved with a run and are no part of the model; None:
        nothing. width: of a slot's vector."""
        return None

    def look(self) -> None:
        """Raises FileNotFoundError or ValueError if a file that the term learns from is not there or another one; asked before a
        model is loaded."""

    @abstractmethod
    def count(self, batch: Batch) -> int:
        """What the sum is divided by; host only."""

    @abstractmethod
    def total(self, batch: Batch, predicted: Predicted, model: Segmenter) -> Tensor:
        """float32 [], over what is counted. Where nothing is, 0 that still hangs on every weight the term trains."""


@dataclass(frozen=True)
class Language(Term):
    """Cross entropy over answer tokens: sum over labelled tokens of -log p(token), counted per token."""

    name = "language"
    slots_only: bool = False
    """only the slots' own tokens are taught, not the words around them (GLUS, model/llava/model/language_model/llava_llama.py:114
    at 8fd138b)"""

    def count(self, batch: Batch) -> int:
        return len(batch.slots) if self.slots_only else batch.labels.shape[0]

    def total(self, batch: Batch, predicted: Predicted, model: Segmenter) -> Tensor:
        from torch import isin
        from torch.nn.functional import cross_entropy

        logits = predicted.logits_KV[: batch.labels.shape[0]].float()
        if not self.slots_only:
            return cross_entropy(logits, batch.labels, reduction="sum")
        # a slot is never cut off and always taught, so each is among the labelled ones
        taught = isin(batch.labelled_at, batch.slot_at - 1)
        return (cross_entropy(logits, batch.labels, reduction="none") * taught).sum()


@dataclass(frozen=True)
class MaskTerm(Term):
    """A loss of every job's mask against its target at the original size, counted per mask, as often as it counts."""

    def count(self, batch: Batch) -> int:
        return batch.masks_counted + len(self.blanks(batch))

    def blanks(self, batch: Batch) -> list[int]:
        """The drawn frame of each mask that counts beside the jobs' as one of zero logits against an empty target."""
        return []

    def total(self, batch: Batch, predicted: Predicted, model: Segmenter) -> Tensor:
        import torch

        each = [
            self.each(logits.flatten(1), target.flatten(1).float(), _keep(ignore, logits))
            for logits, target, ignore in zip(predicted.masks, batch.masks, batch.ignore, strict=True)
            if logits.shape[0]
        ]
        if each:
            each = [torch.cat(each) * batch.job_times]
        for frame in self.blanks(batch):
            height, width = batch.sizes[frame]
            blank = torch.zeros((1, height * width), device=predicted.logits_KV.device)
            each.append(self.each(blank, blank, None))
        return _total(each, like=predicted.logits_KV)

    @abstractmethod
    def each(self, logits: Tensor, target: Tensor, keep: Tensor | None) -> Tensor:
        """float [J, pixels] logits, float [J, pixels] target, float [pixels] 1 where the pixel counts -> float [J]."""


@dataclass(frozen=True)
class Bce(MaskTerm):
    """Mean over the pixels that count of the binary cross entropy with logits, per mask."""

    name = "bce"

    def each(self, logits: Tensor, target: Tensor, keep: Tensor | None) -> Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        if keep is None:
            return binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
        loss = binary_cross_entropy_with_logits(
            logits, target, weight=keep.expand_as(logits), reduction="none"
        )
        return loss.sum(1) / keep.sum().clamp(min=1)


@dataclass(frozen=True)
class Dice(MaskTerm):
    """1 - (2 sum(p t) / s + eps) / (sum(p) / s + sum(t) / s + eps), per mask, with s = 1000 and eps = 1e-6 (LISA)."""

    name = "dice"

    def each(self, logits: Tensor, target: Tensor, keep: Tensor | None) -> Tensor:
        p = logits.sigmoid()
        if keep is not None:
            p, target = p * keep, target * keep
        overlap = 2 * (p / DICE_SCALE * target).sum(1)
        area = (p / DICE_SCALE).sum(1) + (target / DICE_SCALE).sum(1)
        return 1 - (overlap + DICE_EPS) / (area + DICE_EPS)


def _keep(ignore: Tensor | None, logits: Tensor) -> Tensor | None:
    return None if ignore is None else (~ignore).flatten().to(logits.dtype)


def _total(each: Sequence[Tensor], *, like: Tensor) -> Tensor:
    import torch

    if not each:
        return torch.zeros((), device=like.device)
    return torch.cat(list(each)).sum()
