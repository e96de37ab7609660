"""The miniature data sets under tests/goldens, as they are or as copies that a test may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

from seglm.utils.types import Frames

MINI = Path(__file__).parents[1] / "goldens" / "datasets"
ONE = Frames(seen=(0,), drawn=(0,))
"""the frame of a picture"""


def copy_of(name: str, target: Path) -> Path:
    """A copy of a miniature data set; returns its `--dataset_dir`."""
    shutil.copytree(MINI / name, target, dirs_exist_ok=True)
    return target


def world(target: Path, *names: str) -> Path:
    """Several miniature data sets under one `--dataset_dir`."""
    for name in names:
        copy_of(name, target)
    return target
