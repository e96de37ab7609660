"""YouTube-VOS: frames numbered in steps of five, palette PNGs and meta.json with the objects of each video.

The masks of `valid` are only those of each object's first frame, from which a tracker has to start.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from seglm.dataset.toy.clips import seen
from seglm.dataset.toy.layouts.shots import save_json
from seglm.dataset.toy.layouts.takes import (
    Json,
    Take,
    codes_of,
    frame_names,
    names_of,
    save_frames,
    save_label,
    save_labels,
)

FOLDER = Path("YTVOS")
STEP = 5  # the real frames are every fifth of the video


def write_youtube_vos(root: Path, split: str, takes: Iterable[Take]) -> int:
    """Write one split, train or valid; returns the number of objects."""
    videos: Json = {}
    count = 0
    for take in takes:
        name, folder = video_name(take), root / FOLDER / split
        save_frames(take, folder / "JPEGImages" / name, step=STEP)
        if split == "train":
            save_labels(take, folder / "Annotations" / name, values_of(take), step=STEP)
        else:
            _save_first_masks(take, folder / "Annotations" / name)
        videos[name] = {"objects": objects_of(take)}
        count += len(take.clip.things)
    save_json({"videos": videos}, root / FOLDER / split / "meta.json")
    return count


def video_name(take: Take) -> str:
    """Ten digits, as the real names have ten characters."""
    return f"{take.number:010d}"


def values_of(take: Take) -> dict[int, int]:
    """Thing -> its value in the PNGs, from 1 up."""
    return {thing: thing + 1 for thing in range(len(take.clip.things))}


def objects_of(take: Take) -> Json:
    """Objects as meta.json has them: the category is the shape."""
    codes, names = codes_of(take), frame_names(take, step=STEP)
    return {
        str(value): {"category": take.clip.things[thing].shape, "frames": names_of(codes[thing], names)}
        for thing, value in values_of(take).items()
    }


def _save_first_masks(take: Take, folder: Path) -> None:
    """A PNG for each frame at which a thing is seen for the first time, with the things of which that is true."""
    folder.mkdir(parents=True)
    known: set[int] = set()
    for name, scene in zip(frame_names(take, step=STEP), take.clip.scenes):
        masks = seen(scene)
        fresh = [thing for thing, mask in enumerate(masks) if mask.any() and thing not in known]
        known |= set(fresh)
        label = np.zeros(take.size, dtype=np.uint8)
        for thing in fresh:
            label[masks[thing]] = values_of(take)[thing]
        if fresh:
            save_label(label, folder / f"{name}.png")
