"""GLUS's contrast of objects: slots about one object in one frame are pulled together, and away from what else was seen of late.

The original is utils/contrastive_loss.py and utils/seg_token_bank.py of GLUS-video/GLUS at 8fd138b (its tau is spelt taw). Of a
slot's vector t, with one positive p and 128 negatives n drawn with replacement from a bank of the last 512 vectors:
    -log( exp(cos(p, t) / tau) / (exp(cos(p, t) / tau) + sum exp(cos(n, t) / tau)) ).
A positive is of another expression about the same things, in the same frame of the same video. Differences from the original:
- what shows one of the slot's own things, in whatever frame and with whatever else, is no negative (`false_negatives` takes it);
- the bank holds the slots of all processes.
Letters: S slots, N entries of the bank, C width of a slot's vector, K negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from seglm.model.terms import Predicted, Term
from seglm.utils.batch import Batch
from seglm.utils.ranges import FILLED, Count, Names, Positive

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

VIDEO, EXPRESSION, FRAME, THINGS, BITS = range(5)  # columns of `Batch.about`
COLUMNS = 5


class Bank(nn.Module):
    """The last vectors that were seen, oldest first; empty places, whose video is 0, stand before them. Saved with a run."""

    vectors: Tensor
    about: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(size, width))
        self.register_buffer("about", torch.zeros(size, COLUMNS, dtype=torch.int64))

    @torch.no_grad()
    def push(self, vectors: Tensor, about: Tensor) -> None:
        """Adds rows of this process and then of the others, in order; all processes call it, and all have one bank.

        vectors: float [S, C]. about: int64 [S, 5]; a row whose video is 0 is none. No more than the bank's size are taken.
        """
        size = len(self.vectors)
        room = size - min(size, len(vectors))
        # as many rows on every process, so that none has to ask how many there are
        new = torch.cat([vectors.new_zeros(room, vectors.shape[1]), vectors[-size:]]).to(self.vectors.dtype)
        known = torch.cat([about.new_zeros(room, COLUMNS), about[-size:]])
        all_vectors = torch.cat([self.vectors, *_of_all(new)])
        all_about = torch.cat([self.about, *_of_all(known)])
        order = (all_about[:, VIDEO] != 0).int().argsort(stable=True)[-size:]
        self.vectors.copy_(all_vectors[order])
        self.about.copy_(all_about[order])


def _of_all(rows: Tensor) -> Sequence[Tensor]:
    """The rows of every process."""
    if not torch.distributed.is_initialized():
        return [rows]
    found = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(found, rows.contiguous())
    return found


@dataclass(frozen=True)
class Contrast(Term):
    """The mean over the slots of a micro-batch that have a positive and enough negatives, if there are two; per micro-batch."""

    name = "contrast"
    sets: Annotated[Names, FILLED] = ("mevis",)
    """data sets whose slots take part; they have to say which things an expression means"""
    tau: Positive = 0.07
    negatives: Count = 128
    """drawn for each slot, from no fewer"""
    size: Count = 512
    """vectors that the bank holds"""
    false_negatives: bool = False
    """take every entry for a negative that is neither a positive nor of the same expression, as the original does"""

    def state(self, width: int) -> Bank:
        return Bank(self.size, width)

    def count(self, batch: Batch) -> int:
        return 1

    def total(self, batch: Batch, predicted: Predicted, model: Segmenter) -> Tensor:
        bank = model.banks[self.name]
        assert isinstance(bank, Bank)
        queries = predicted.queries_SC.float()
        taking = [batch.keys[slot.example].partition("|")[0] in self.sets for slot in batch.slots]
        rows = [number for number, part in enumerate(taking) if part]
        about = torch.stack([batch.about[row] for row in rows]) if rows else batch.about[:0]
        vectors = torch.stack([queries[row] for row in rows]) if rows else queries[:0]
        bank.push(vectors.detach(), about * (about[:, THINGS] != 0).unsqueeze(1))
        if not rows:
            return 0 * queries.sum()
        positive, negative = self.pairs(about, bank.about)
        enough = positive.any(1) & (negative.sum(1) >= self.negatives)
        pulled = bank.vectors[drawn(positive, 1)]
        pushed = bank.vectors[drawn(negative, self.negatives)]
        each = loss_of(vectors, torch.cat([pulled, pushed], dim=1), self.tau)
        count = enough.sum()
        return (each * enough).sum() / count.clamp(min=1) * (count > 1)

    def pairs(self, about_S: Tensor, about_N: Tensor) -> tuple[Tensor, Tensor]:
        """bool [S, N] twice: which entries of the bank are positives of a slot, and which negatives. Rows of `Batch.about`."""
        same = about_S[:, None] == about_N[None]
        video, expression = same[..., VIDEO], same[..., EXPRESSION]
        taken = (about_N[:, VIDEO] != 0) & (about_S[:, None, THINGS] != 0)
        positive = taken & video & ~expression & same[..., FRAME] & same[..., THINGS]
        negative = taken & ~positive & ~(video & expression)
        if not self.false_negatives:
            shared = about_S[:, None, BITS] & about_N[None, :, BITS]
            negative &= ~(video & (shared != 0))
        return positive, negative


def loss_of(slots_SC: Tensor, entries_SKC: Tensor, tau: float) -> Tensor:
    """float [S]: the loss of each slot against its positive, which is the first of its entries, and its negatives."""
    near = (normalize(slots_SC, dim=1)[:, None] * normalize(entries_SKC, dim=2)).sum(2)
    return -log_softmax(near / tau, dim=1)[:, 0]


def drawn(mask_SN: Tensor, count: int) -> Tensor:
    """int64 [S, count]: places of True in each row, drawn with replacement; any places of a row that has none."""
    some = mask_SN | ~mask_SN.any(1, keepdim=True)
    return some.float().multinomial(count, replacement=True)
