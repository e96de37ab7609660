"""A video of any length needs the memory of a few frames."""

from __future__ import annotations

import pytest

from benchmarks.measure import peak_of_child

EXPRESSIONS = 8
SHORT = 20  # frames
GROWTH = 64  # MiB


def peak(num_frames: int) -> float:
    """MiB"""
    return peak_of_child("tests.evaluation.long_video", str(num_frames), str(EXPRESSIONS))


@pytest.mark.parametrize(
    "num_frames", [60, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_memory_does_not_grow_with_the_video(num_frames: int) -> None:
    assert peak(num_frames) - peak(SHORT) < GROWTH
