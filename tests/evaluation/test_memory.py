"""A video of any length needs the memory of a few frames."""

from __future__ import annotations

import pytest

from benchmarks.measure import peak_of_child

EXPRESSIONS = 8
SHORT = 20  # frames
GROWTH = 32  # MiB
LARGE_APART = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**20)}
"""for glibc: what is large goes back to the system at once. Holes between pictures in its heap otherwise come to 20 to 75 MiB, by
chance; without them 300 frames take 3 MiB more than 20"""


def peak(num_frames: int) -> float:
    """MiB"""
    return peak_of_child("tests.evaluation.long_video", str(num_frames), str(EXPRESSIONS))


@pytest.mark.parametrize(
    "num_frames", [60, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_memory_does_not_grow_with_the_video(num_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LARGE_APART.items():
        monkeypatch.setenv(name, value)
    assert peak(num_frames) - peak(SHORT) < GROWTH
