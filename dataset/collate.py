"""Examples become one micro-batch: rows of tokens (dataset/rows.py), with every index the forward needs already computed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from seglm.dataset.rows import TEXT, Rows, rows_of, stems_of
from seglm.dataset.subjects import told_of
from seglm.utils.batch import Batch, Bound
from seglm.utils.types import IGNORE_LABEL, Example

if TYPE_CHECKING:
    from torch import Tensor


def collate(
    examples: Sequence[Example], *, share_prefix: bool = True, row_tokens: int | None = None
) -> Batch:
    """One micro-batch of whole examples.

    share_prefix: False puts every dialogue into a row of its own with nothing shared, which is what kernels without
    an arbitrary mask (flash attention) need, and the slow form that sharing is tested against.
    row_tokens: pack several examples into a row of at most so many tokens; None gives each its own row. Where an example is
    longer, rows are as long as it.
    Raises ValueError naming the sample if a slot asks for a mask or a frame that its example does not have.
    """
    import torch

    if not examples:
        raise ValueError("no examples to collate; a micro-batch holds at least one image")
    if row_tokens is not None and not share_prefix:
        raise ValueError(
            f"row_tokens={row_tokens} packs rows, share_prefix=False gives every dialogue its own row; choose one"
        )
    for example in examples:
        _check(example)
    text = Rows.of(rows_of(list(stems_of(examples, share_prefix)), row_tokens), examples)
    first_drawn = list(accumulate((len(example.drawn) for example in examples), initial=0))
    slots = text.slots(examples, first_drawn)
    times = Counter((number, frame) for number, slot in enumerate(slots) for frame in slot.frames)
    jobs = tuple(sorted(times, key=lambda job: job[::-1]))
    return Batch(
        keys=tuple(example.key for example in examples),
        ids=torch.from_numpy(text.ids),
        positions=torch.from_numpy(text.positions),
        group=torch.from_numpy(text.group),
        branch=torch.from_numpy(text.branch),
        image_at=_indices(text.image_at),
        image_frame=_indices(text.image_frame),
        image_patch=_indices(text.image_patch),
        labelled_at=_indices(text.labelled_at),
        labels=_indices(text.labels),
        vision=torch.from_numpy(np.concatenate([example.vision for example in examples])),
        drawn=tuple(torch.from_numpy(frame) for example in examples for frame in example.drawn),
        resized=tuple(example.resized for example in examples for _ in example.drawn),
        sizes=tuple(example.size for example in examples for _ in example.drawn),
        slots=slots,
        slot_at=_indices([slot.row * text.ids.shape[1] + slot.place for slot in slots]),
        words=_indices([slot.word_id for slot in slots]),
        values=torch.tensor(
            [nan if slot.value is None else slot.value for slot in slots], dtype=torch.float32
        ),
        about=told_of(slots, examples, first_drawn),
        job_slot=_indices([slot for slot, _ in jobs]),
        job_frame=_indices([frame for _, frame in jobs]),
        job_times=torch.tensor([times[job] for job in jobs], dtype=torch.float32),
        jobs=jobs,
        masks_counted=times.total(),
        masks=tuple(_masks(examples, first_drawn, slots, jobs)),
        ignore=tuple(_ignored(example, frame) for example in examples for frame in range(len(example.drawn))),
        laid=text.dialogues(),
        frame_example=tuple(number for number, example in enumerate(examples) for _ in example.drawn),
        grids=tuple(grid for example in examples for grid in example.grids),
        rotary=None if text.rotary is None else torch.from_numpy(text.rotary),
    )


def _check(example: Example) -> None:
    """What is asked for exists."""
    targets, frames = example.masks.shape[:2]
    if not example.branches:
        raise ValueError(f"{example.key}: no dialogue; its script is empty")
    if frames != len(example.drawn):
        raise ValueError(
            f"{example.key}: masks for {frames} frames but {len(example.drawn)} frames are drawn"
        )
    for branch in example.branches:
        if len(branch.ids) == 0 or branch.labels[0] != IGNORE_LABEL:
            raise ValueError(
                f"{example.key}: a dialogue that is empty or trains its first token, which nothing predicts"
            )
        if branch.frame.max(initial=TEXT) >= len(example.vision):
            raise ValueError(
                f"{example.key}: shows frame {branch.frame.max()}, but there are {len(example.vision)} frames"
            )
        for placed in branch.slots:
            slot = placed.slot
            if slot.frames and not (
                0 <= slot.target < targets and 0 <= min(slot.frames) <= max(slot.frames) < frames
            ):
                raise ValueError(
                    f"{example.key}: {slot} asks for what is not there; there are {targets} targets with masks in "
                    f"{frames} frames"
                )


def _masks(
    examples: Sequence[Example],
    first_drawn: list[int],
    slots: tuple[Bound, ...],
    jobs: tuple[tuple[int, int], ...],
) -> Iterator[Tensor]:
    """For each drawn frame of the batch bool [its jobs, H, W]."""
    import torch

    for number, example in enumerate(examples):
        for frame in range(len(example.drawn)):
            targets = [slots[slot].target for slot, drawn in jobs if drawn == first_drawn[number] + frame]
            masks = example.masks[:, frame]
            if targets != list(
                range(len(masks))
            ):  # every target once and in order, the usual case, needs no copy
                masks = masks[targets] if targets else np.zeros((0, *example.size), np.bool_)
            yield torch.from_numpy(masks)


def _ignored(example: Example, frame: int) -> Tensor | None:
    # Copied: readers give a view that may not be written to, which torch warns of.
    import torch

    return None if example.ignore is None else torch.tensor(example.ignore[frame])


def _indices(values: list[int]) -> Tensor:
    import torch

    return torch.tensor(values, dtype=torch.int64)
