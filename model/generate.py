"""Greedy answers with a KV cache, for all dialogues of a batch at once.

A row may hold a shared prefix and several open dialogues behind it (dataset/collate.py). All of them are continued together: a
step appends one token to each dialogue, and the same rule that keeps dialogues apart in training keeps them apart here.
Letters: R rows, B dialogues of a row, D hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seglm.model.attention import allowed
from seglm.utils.batch import Batch

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

NOT_A_NUMBER = -1  # stands for a token where the logits are not finite


@dataclass
class _Written:
    """What one dialogue has written so far."""

    ids: list[int]
    states: list[Tensor]
    """state that predicts ids[k], then, once that token was fed, the state at it: states[k + 1] is the state at ids[k]"""
    done: bool = False


@torch.inference_mode()
def generate(model: Segmenter, batch: Batch, *, max_new_tokens: int) -> list[_Written]:
    """Continues every dialogue of the batch greedily until its end token or `max_new_tokens`.

    A token is fed to the model after it was written, also the last one if it is a slot and the recipe reads the state at it.
    """
    layout = _Layout.of(batch)
    written = [_Written([], []) for _ in batch.laid]
    with model.autocast(), model.backbone.generating() as cache:
        states = model.backbone.hidden(batch, cache=cache)
        heads = states.flatten(0, 1)[layout.last_at]
        for step in range(max_new_tokens + 1):
            chosen = _best(model.backbone.head(heads))
            _note(written, heads, chosen.tolist(), model=model, full=step >= max_new_tokens)
            if all(dialogue.done for dialogue in written):
                break
            layout, inputs = layout.extended(chosen.clamp(min=0))
            heads = _advance(model, inputs, layout, cache)
    return written


def _best(logits: Tensor) -> Tensor:
    """The likeliest token of each row, NOT_A_NUMBER where a logit is NaN or infinite; the device is not waited for."""
    chosen = logits.argmax(-1)  # of a NaN or an infinity, where there is one
    value = logits.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
    return chosen.where(value.isfinite(), NOT_A_NUMBER)


def _note(
    written: Sequence[_Written], heads: Tensor, chosen: list[int], *, model: Segmenter, full: bool
) -> None:
    """Appends this step's state and token to every dialogue that still writes.

    A dialogue ends with its end token or when it is full; in both cases one more state has been kept than tokens were written
    before, so that the state at the last written token is there.
    """
    for dialogue, state, token in zip(written, heads, chosen, strict=True):
        if dialogue.done:
            continue
        dialogue.states.append(state)
        if full:
            dialogue.done = True
            continue
        if token == NOT_A_NUMBER:
            raise FloatingPointError(
                f"token {len(dialogue.ids) + 1} of an answer: the logits are NaN or infinite; in fp16 activations overflow, use "
                "--precision bf16 or fp32; in another precision the weights are damaged"
            )
        dialogue.ids.append(token)
        dialogue.done = model.encoder.is_over(dialogue.ids)


@dataclass(frozen=True)
class _Layout:
    """Where every cached token of every row belongs; grows by one token a dialogue a step."""

    group: Tensor
    """int64 [R, T]"""
    branch: Tensor
    """int64 [R, T]"""
    positions: Tensor
    """int64 [R, T]"""
    last_at: Tensor
    """int64 [dialogues], flat position of each dialogue's last token in the prompt (only valid before the first step)"""
    row_of: Tensor
    """int64 [dialogues]"""
    seat_of: Tensor
    """int64 [dialogues], which of its row's dialogues it is"""
    next_group: Tensor
    """int64 [R, B], -2 where a row has fewer dialogues"""
    next_branch: Tensor
    next_position: Tensor
    next_rotary: Tensor
    """int64 [R, B], the rotary position of the next token, one number for all axes: what is written is text"""

    @classmethod
    def of(cls, batch: Batch) -> _Layout:
        device, (rows, columns) = batch.ids.device, batch.ids.shape
        seats: list[int] = []
        taken = [0] * rows
        for laid in batch.laid:
            seats.append(taken[laid.row])
            taken[laid.row] += 1
        row_of = torch.tensor([laid.row for laid in batch.laid], device=device)
        seat_of = torch.tensor(seats, device=device)
        last_at = row_of * columns + torch.tensor([laid.last for laid in batch.laid], device=device)

        def seated(values: Tensor, empty: int) -> Tensor:
            table = torch.full((rows, max(taken)), empty, device=device)
            table[row_of, seat_of] = values.flatten()[last_at]
            return table

        return cls(
            batch.group,
            batch.branch,
            batch.positions,
            last_at,
            row_of,
            seat_of,
            seated(batch.group, -2),
            seated(batch.branch, 0),
            seated(batch.positions, 0) + 1,
            seated(batch.positions if batch.rotary is None else batch.rotary.amax(0), 0) + 1,
        )

    def extended(self, chosen: Tensor) -> tuple[_Layout, Tensor]:
        """The layout with one more token for each dialogue, and the ids [R, B] of these tokens (0 on empty seats)."""
        ids = torch.zeros_like(self.next_group)
        ids[self.row_of, self.seat_of] = chosen
        grown = _Layout(
            torch.cat([self.group, self.next_group], 1),
            torch.cat([self.branch, self.next_branch], 1),
            torch.cat([self.positions, self.next_position], 1),
            self.last_at,
            self.row_of,
            self.seat_of,
            self.next_group,
            self.next_branch,
            self.next_position + 1,
            self.next_rotary + 1,
        )
        return grown, ids


def _advance(model: Segmenter, ids: Tensor, layout: _Layout, cache: object) -> Tensor:
    """Feeds one token of each dialogue; returns the new state of each dialogue [dialogues, D]."""
    seats = ids.shape[1]
    window = model.backbone.window
    free = allowed(layout.group, layout.branch, layout.positions, queries=seats, window=window)
    states = model.backbone.go_on(ids, free=free, positions=layout.next_rotary - 1, cache=cache)
    return states[layout.row_of, layout.seat_of]
