"""Predicted masks of videos on disk, one PNG a frame, as an evaluation writes them; `video_files.py` reads them again.

    FOLDER/VIDEO/EXPRESSION/FRAME.png

VIDEO and EXPRESSION are what the data set calls them, FRAME is the name of the frame's own file: the tree that MeViS',
VideoLISA's, GLUS' and ReferFormer's scripts write. As there, a PNG is grey, has eight bits a pixel, 0 or 255, and the size of
the video. `evaluation/submit` makes of it what a server takes.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from seglm.utils import png
from seglm.utils.atomic import write_atomic
from seglm.utils.types import Sample, Target

Mask = NDArray[np.bool_]
"""bool [H, W]"""
ON = 255


def video_name(sample: Sample) -> str:
    """What the data set calls a video; it may hold folders, as in ReVOS. Raises ValueError if it is no path inside another."""
    return _inside(sample.key.partition("/")[2], sample)


def expression_folder(sample: Sample, target: Target) -> str:
    """`VIDEO/EXPRESSION`. Raises ValueError for names that are no path."""
    return f"{video_name(sample)}/{_inside(target.key, sample)}"


def write_frame(folder: Path, sample: Sample, target: Target, frame: int, mask: Mask) -> None:
    """One frame's mask, at the video's size, there whole or not at all.

    Frames may come in any order, and several processes may write other ones. frame: index into the sample.
    Raises ValueError for a mask of another size, OSError if it cannot be written.
    """
    path = folder / expression_folder(sample, target) / f"{sample.frame_names[frame]}.png"
    if mask.shape != sample.size:
        raise ValueError(f"{path}: a mask of {mask.shape} for a video of {sample.size} (H, W)")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, png.of_grey(mask.astype(np.uint8) * ON), is_durable=False)


def _inside(name: str, sample: Sample) -> str:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise ValueError(
            f"{sample.key}: {name!r} names no file below a folder; permitted are names without `..` and a leading `/`"
        )
    return name
