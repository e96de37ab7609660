"""Sa2VA's fine-tuning file: a list of pictures, each with masks and a text for each mask.

    [{"image": file, "mask": [[polygon, ...], ...], "text": [words, ...]}, ...]

A mask is a list of polygons or run lengths, [x0, y0, x1, y1, ...] or {size, counts}. In a file of videos, which Sa2VA's own guide
has not, an entry has "video" for "image", a film or a folder of frames, and each mask is a list with one such list, or null, for
each frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seglm.dataset.description import Description
from seglm.dataset.faults import attempt, blamed
from seglm.dataset.fields import shown, take, texts
from seglm.dataset.index import Listed, Record
from seglm.dataset.masks import Mask, checked, drawn, refuse_shares
from seglm.dataset.readers.files import list_of, read_json
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.dataset.readers.video import open_video, within
from seglm.utils.types import Sample, Target

Shown = Literal["image", "video"]
"""what the entries of a file are about"""
QUESTION = "?"  # with which a text ends that is a whole question, as in Sa2VA's video sets


def open_listed(home: Path, split: str, about: Description, file: Path, shows: Shown) -> Stills:
    """The entries of a file; what they show lies in the folder `images` or `videos` of `home`. Raises Fault."""
    list_records = partial(_records, file, shows)
    return open_stills(
        home, split, about, read_listed, list_records, files=(file,), images=home / f"{shows}s"
    )


def read_listed(record: Record, still: Still) -> Sample:
    """The file does not say how large a picture is: outlines are looked at here, those of a video where they are asked for."""
    if "frames" not in record:
        size = still.size()
        masks = [
            partial(still.masks, _numbered(number, one, size), size)
            for number, one in enumerate(record["masks"])
        ]
        targets = _targets(record, masks)
        return Sample(still.key, size, lambda _: still.frame(size), targets=targets, path=str(still.path))
    video = open_video(still.path, still.key)
    for number, one in enumerate(record["masks"]):
        if len(one) != video.num_frames:
            raise ValueError(f"mask {number} is of {len(one)} frames, its video has {video.num_frames}")
    return Sample(
        key=still.key,
        size=video.size,
        frame=video.frame,
        num_frames=video.num_frames,
        targets=_targets(record, [partial(_masks, one, still, video.size) for one in record["masks"]]),
        path=str(still.path),
        frame_names=video.names,
    )


def _targets(record: Record, masks: Sequence[Callable[[Sequence[int]], Mask]]) -> tuple[Target, ...]:
    """The file names no thing: outlines that are the same are one thing, and where no frame has any, nothing is meant."""
    outlines = record["masks"]
    return tuple(
        Target(
            (text,),
            mask,
            is_sentence=QUESTION in text,
            key=str(number),
            objects=(str(outlines.index(outlines[number])),) if any(outlines[number]) else (),
        )
        for number, (text, mask) in enumerate(zip(record["texts"], masks, strict=True))
    )


def _masks(frames: Sequence[Any], still: Still, size: tuple[int, int], asked: Sequence[int]) -> Mask:
    """bool [T, H, W] of one mask of a video."""
    found = np.zeros((len(asked), *size), dtype=np.bool_)
    for place, index in enumerate(asked):
        within(index, len(frames), still.key)
        with blamed(f"{still.key}, frame {index}", still.path, "malformed mask"):
            found[place] = drawn(_parts(frames[index] or [], size), size)
    return found


def _numbered(number: int, mask: Any, size: tuple[int, int]) -> list[Any]:
    try:
        return _parts(mask, size)
    except ValueError as error:
        raise ValueError(f"mask {number}: {error}") from error


def _parts(mask: Any, size: tuple[int, int]) -> list[Any]:
    """What `checked` makes of a mask. Raises ValueError, also where no part has three points: a box, or a bracket too few.

    Published sets have things of two points, which are empty masks there; a person means something.
    """
    parts = checked(mask, size)
    if parts and all(isinstance(part, list) for part in parts):
        refuse_shares(parts, size, "the numbers of a mask")
    if not parts and any(mask):
        raise ValueError(
            f"{shown(mask)} has no polygon of three points; a mask is a list of polygons, [[x0, y0, x1, y1, x2, y2, ...], ...] "
            "or [[[x0, y0], [x1, y1], [x2, y2], ...], ...]; of a box write its four corners, and of nothing []"
        )
    return parts


def _records(file: Path, shows: Shown, name: str) -> Iterator[Listed]:
    for number, entry in enumerate(list_of(read_json(file, name), f"{shows}s", name, file)):
        yield attempt(f"{name}/entry {number}", file, partial(_record, number, entry, shows))


def _record(number: int, entry: Any, shows: Shown) -> Record:
    place = take(entry, shows, str)
    said, masks = texts(entry, "text"), take(entry, "mask", list)
    if len(said) != len(masks) or not said:
        raise ValueError(
            f"{len(said)} texts and {len(masks)} masks; each mask has one text, and there is one at least"
        )
    if wrong := [one for one in masks if not isinstance(one, list)]:
        raise ValueError(
            f"a mask is {shown(wrong[0])}, permitted is a list: of polygons, or of those of each frame"
        )
    record = {"id": str(number), "image": place, "texts": said, "masks": masks}
    return record | ({"frames": None} if shows == "video" else {})
