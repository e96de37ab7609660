"""What slots speak of, as numbers that a device can compare: the same in every process and every run."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from seglm.utils.batch import Bound
from seglm.utils.types import Example, Target

if TYPE_CHECKING:
    from torch import Tensor

BITS = 63  # of a positive int64


def subject(target: Target) -> tuple[int, int, int]:
    """(expression, set of things, a bit for each thing): an int64 each, the last two 0 where the data set names no thing.

    Things of one video share a bit where their ids are more than 63 apart, or are words that happen to.
    """
    things = sorted(target.objects)
    bits = 0
    for thing in things:
        bits |= 1 << ((int(thing) if thing.isdecimal() else crc32(thing.encode())) % BITS)
    return number_of(target.key or target.texts[0]), number_of("\n".join(things)) if things else 0, bits


def number_of(text: str) -> int:
    """An int64 that other texts do not have, but for a chance of 1 to 2 ** 64."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def subjects(targets: Sequence[Target]) -> NDArray[np.int64]:
    """int64 [targets, 3], see `subject`."""
    return np.array([subject(target) for target in targets], np.int64).reshape(-1, 3)


def told_of(slots: Sequence[Bound], examples: Sequence[Example], first_drawn: Sequence[int]) -> Tensor:
    """int64 [S, 5]: `Batch.about`. first_drawn: of each example, in the batch's drawn frames."""
    import torch

    rows = []
    for slot in slots:
        example = examples[slot.example]
        frames = [
            example.frames[frame - first_drawn[slot.example]] for frame in slot.frames if example.frames
        ]
        known = len(example.subjects) > slot.target
        rows.append(
            (
                number_of(example.key),
                int(example.subjects[slot.target, 0]) if known else 0,
                frames[0] if len(frames) == 1 else number_of(str(frames)),
                int(example.subjects[slot.target, 1]) if known else 0,
                int(example.subjects[slot.target, 2]) if known else 0,
            )
        )
    return torch.tensor(rows, dtype=torch.int64).view(-1, 5)
