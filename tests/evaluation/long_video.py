"""Asks a tiny model about a video of so many frames and prints the peak of its memory: what test_memory.py starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import peak_mebibytes
from seglm.evaluation.asking.ask import asker
from seglm.evaluation.scores.first_mask import mask_of
from seglm.utils.types import Sample, Target, Window
from tests.tiny import tiny_model, tiny_recipe

SIZE = (720, 1280)


def first_seen_all_asked(num_frames: int) -> Iterator[Window]:
    """One window: the words come from the first frame, the masks are wanted in all."""
    yield Window(seen=(0,), asked=tuple(range(num_frames)))


def nowhere(frames: Sequence[int]) -> NDArray[np.bool_]:
    return np.zeros((len(frames), *SIZE), dtype=np.bool_)


def video(num_frames: int, expressions: int) -> Sample:
    """Noise that is made when a frame is asked for."""

    def frame(number: int) -> NDArray[np.uint8]:
        return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), np.uint8)

    targets = tuple(Target((f"thing {number}",), nowhere) for number in range(expressions))
    return Sample("video|val/1", SIZE, frame, num_frames=num_frames, targets=targets)


def main(num_frames: int, expressions: int) -> None:
    recipe = replace(tiny_recipe(), walk=first_seen_all_asked)
    ask = asker(tiny_model(recipe), protocol="forced", max_new_tokens=1)
    seen = 0
    for drawn in ask([video(num_frames, expressions)]):
        assert len(drawn.answers) == expressions and mask_of(drawn.answers[0], SIZE).shape == SIZE
        seen += 1
    assert seen == num_frames
    print(peak_mebibytes())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
