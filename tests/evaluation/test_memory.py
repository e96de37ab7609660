"""A video of any length needs the memory of a few frames."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPRESSIONS = 8
SHORT = 20  # frames
GROWTH = 64  # MiB


def peak(num_frames: int) -> int:
    """MiB"""
    line = [sys.executable, "-m", "tests.evaluation.long_video", str(num_frames), str(EXPRESSIONS)]
    return int(subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(
    "num_frames", [60, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_memory_does_not_grow_with_the_video(num_frames: int) -> None:
    assert peak(num_frames) - peak(SHORT) < GROWTH
