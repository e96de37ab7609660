"""Phrases that stand before a slot between two marks, `<p> red ring </p> [SEG]`, and what is read of them without an LLM.

Letters: N tokens of all rows, D width of an embedding, S slots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PHRASE = ("<p>", "</p>")


def mean_of_phrases(embedded_ND: Tensor, ids_N: Tensor, slot_at_S: Tensor, *, begin: int, end: int) -> Tensor:
    """The mean embedding of the last phrase before each slot, float32 [S, D]; zeros where there is none.

    ids_N: int64. slot_at_S: int64, places of the slots. begin, end: ids of the marks.
    """
    import torch

    places = torch.arange(len(ids_N), device=ids_N.device)
    nowhere = places.new_full((), -1)
    last_begin, last_end = (
        torch.where(ids_N == mark, places, nowhere).cummax(0).values[slot_at_S][:, None]
        for mark in (begin, end)
    )
    inside = ((places > last_begin) & (places < last_end) & (last_begin >= 0)).float()
    return inside @ embedded_ND.float() / inside.sum(1, keepdim=True).clamp(min=1)
