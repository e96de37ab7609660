"""Masks that a person has of a few frames: one PNG a frame, of one object or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.scores.mask_png import stored_numbers

Mask = NDArray[np.bool_]
MOST = 64
"""objects of a mask; more values than that are the edges of a mask that was drawn smooth, or a photograph"""


def frames_of(masks: Sequence[Path], frames: Sequence[int] | None, names: Sequence[str]) -> dict[int, Path]:
    """Which frame each mask is of: those that are given, else the frame of its name, else the first.

    names: of the video's frames. Raises ValueError, also for a mask that is called by a number and no frame is.
    """
    if frames is None:
        if strays := [mask for mask in masks if mask.stem not in names and mask.stem.isdecimal()]:
            raise ValueError(
                f"{strays[0]}: no frame is called {strays[0].stem}, they are {names[0]} to {names[-1]}; call the mask as its "
                "frame is called, or give the frame's number (--frame)"
            )
        frames = [names.index(mask.stem) if mask.stem in names else 0 for mask in masks]
    if len(frames) != len(masks):
        raise ValueError(
            f"{len(masks)} masks and {len(frames)} frames (--mask, --frame); give a frame for each mask"
        )
    if strange := [frame for frame in frames if not 0 <= frame < len(names)]:
        raise ValueError(f"--frame {strange[0]}: the video has frames 0 to {len(names) - 1}")
    found = dict(zip(frames, masks, strict=True))
    if len(found) < len(masks):
        twice = next(frame for frame in frames if list(frames).count(frame) > 1)
        which = [str(mask) for mask, frame in zip(masks, frames, strict=True) if frame == twice]
        raise ValueError(
            f"{' and '.join(which)} are both of frame {twice}; name the frame of each (--frame), or call the masks as "
            f"the frames are called ({names[0]}.png)"
        )
    return found


def read_objects(masks: Mapping[int, Path], size: tuple[int, int]) -> tuple[tuple[int, ...], dict[int, Mask]]:
    """(the objects' numbers, by frame bool [N, H, W]). An object that a mask does not have is not seen in its frame.

    masks: by frame; a palette or grey, 0 is the background and each other value is an object, in all masks the same one. size:
    (H, W) of the video, pixels. Raises FileNotFoundError and ValueError that name the file.
    """
    stored = {frame: _numbers(file, size) for frame, file in masks.items()}
    numbers = sorted({int(value) for found in stored.values() for value in np.unique(found)} - {0})
    if not numbers:
        raise ValueError(
            f"{', '.join(map(str, masks.values()))}: no pixel belongs to an object; what is not 0 does"
        )
    return tuple(numbers), {
        frame: np.stack([found == number for number in numbers]) for frame, found in stored.items()
    }


def _numbers(file: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such mask (--mask)")
    try:
        found = stored_numbers(file.read_bytes(), of_objects=True)
    except ValueError as error:
        raise ValueError(f"{file} {error}") from error
    if found.shape != size:
        told = f"{found.shape[0]} x {found.shape[1]}, the video's frames are {size[0]} x {size[1]} (H x W)"
        raise ValueError(f"{file} is {told}; give a mask of a frame as it is shown")
    if (count := len(np.unique(found))) > MOST + 1:
        raise ValueError(
            f"{file} has {count} different values, and each but 0 would be an object; save 0 and 255, or a palette"
        )
    return found
