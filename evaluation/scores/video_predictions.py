"""Predicted masks of videos on disk, one PNG a frame: what an evaluation writes and reads again.

    FOLDER/VIDEO/EXPRESSION/FRAME.png

VIDEO and EXPRESSION are what the data set calls them, FRAME is the name of the frame's own file: the tree that MeViS',
VideoLISA's, GLUS' and ReferFormer's scripts write, and `video_files.py` reads. As there, a PNG is grey, has eight bits a pixel, 0
or 255, and the size of the video. `evaluation/submit` makes of it what a server takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.scores.files import read_mask
from seglm.utils.atomic import write_atomic
from seglm.utils.types import Sample, Target

Mask = NDArray[np.bool_]
"""bool [H, W]"""
ON = 255


def video_name(sample: Sample) -> str:
    """What the data set calls a video; it may hold folders, as in ReVOS. Raises ValueError if it is no path inside another."""
    return _inside(sample.key.partition("/")[2], sample)


def frame_file(sample: Sample, target: Target, frame: int) -> str:
    """`VIDEO/EXPRESSION/FRAME.png`. frame: index into the sample. Raises ValueError for names that are no path."""
    return f"{video_name(sample)}/{_inside(target.key, sample)}/{sample.frame_names[frame]}.png"


def write_frame(folder: Path, sample: Sample, target: Target, frame: int, mask: Mask) -> None:
    """One frame's mask, at the video's size, there whole or not at all.

    Frames may come in any order, and several processes may write other ones. frame: index into the sample.
    Raises ValueError for a mask of another size, OSError if it cannot be written.
    """
    path = folder / frame_file(sample, target, frame)
    if mask.shape != sample.size:
        raise ValueError(f"{path}: a mask of {mask.shape} for a video of {sample.size} (H, W)")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, png_of(mask.astype(np.uint8) * ON), is_durable=False)


def write_video(folder: Path, sample: Sample, target: Target, masks: Iterable[Mask]) -> None:
    """The masks of all frames, which may come one by one. Raises ValueError if there are more or fewer than frames."""
    count = -1
    for count, mask in enumerate(masks):
        if count < sample.num_frames:
            write_frame(folder, sample, target, count, mask)
    if count + 1 != sample.num_frames:
        raise ValueError(
            f"{sample.key} {target.key}: {count + 1} masks for {sample.num_frames} frames; each needs one"
        )


def read_frame(folder: Path, sample: Sample, target: Target, frame: int) -> Mask:
    """The mask that `write_frame` wrote. Raises FileNotFoundError or ValueError that name video and file."""
    path = folder / frame_file(sample, target, frame)
    return read_mask(path, size=sample.size, key=f"{sample.key} {target.key}")


def read_video(folder: Path, sample: Sample, target: Target) -> Iterator[tuple[str, Mask]]:
    """(name of the frame, its mask) of all frames, one by one. Raises as `read_frame`."""
    for frame, name in enumerate(sample.frame_names):
        yield name, read_frame(folder, sample, target, frame)


def png_of(grey: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W] as a PNG of eight bits a pixel. Raises OSError if that does not go."""
    done, data = cv2.imencode(".png", grey)
    if not done:
        raise OSError(f"an array of {grey.shape} could not be encoded as PNG")
    return data.tobytes()


def _inside(name: str, sample: Sample) -> str:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise ValueError(
            f"{sample.key}: {name!r} names no file below a folder; permitted are names without `..` and a leading `/`"
        )
    return name
