"""Ref-SAV's training: objects of SA-V's films with captions; a film's masks are one JSON beside it.

    {video: {"video_path": ..., "anno_path": ..., "objects": {object: {"formated": long caption, "short_caps": [caption, ...]}}}}

A film is annotated in every fourth frame. These are the frames of a sample, as in the released code
(projects/llava_sam2/datasets/ReSAM2_Dataset.py of magic-research/Sa2VA), which decodes the whole film for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from seglm.dataset.description import Description
from seglm.dataset.faults import attempt, blamed, fault
from seglm.dataset.fields import is_number, shown, take, texts, words
from seglm.dataset.frames import Pixels, read_bytes
from seglm.dataset.index import LeftOut, Listed, Record
from seglm.dataset.masks import Mask, checked, drawn
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.dataset.readers.video import Video, open_video, within
from seglm.utils.types import Sample, Target

EVERY = 4  # frames of a film from one that is annotated to the next: 24 and 6 a second
SLACK = (
    1  # annotated frames by which a film and its masks may differ: a decoder may give one frame more or fewer
)
Length = Literal["long", "short"]
"""of captions; also their kind"""
LONG: Length = "long"
SHORT: Length = "short"


def open_masklets(
    root: Path, split: str, about: Description, file: Path, home: Path, length: Length
) -> Stills:
    """The films of Ref-SAV's file, which lie below `home`, SA-V's folder. Raises Fault if the file is missing."""
    list_records = partial(_records, file, length)
    return open_stills(root, split, about, read_masklets, list_records, files=(file,), images=home)


def read_masklets(record: Record, still: Still) -> Sample:
    """Opens the film and its masks: only they say how many frames are annotated. Pixels are decoded where they are asked for."""
    film = open_video(still.path, still.key)
    path = still.root / record["masks"]
    frames = _frames(path, still.key)
    in_film = -(-film.num_frames // EVERY)
    if abs(len(frames) - in_film) > SLACK:
        told = f"`masklet` has {len(frames)} frames, every {EVERY}th of the film are {in_film}"
        raise fault(still.key, path, f"{told}; is it the JSON of another film?")
    known = frames[:in_film]
    return Sample(
        key=still.key,
        size=film.size,
        frame=partial(_frame, film, len(known), still.key),
        num_frames=len(known),
        targets=tuple(
            Target(
                texts=tuple(one["texts"]),
                masks=partial(_masks, known, path, still.key, film.size, one["object"]),
                kind=record["kind"],
                key=str(one["object"]),
                objects=(str(one["object"]),),
            )
            for one in record["objects"]
        ),
        path=str(still.path),
        frame_names=tuple(f"{number * EVERY:05d}" for number in range(len(known))),
    )


def _frames(path: Path, key: str) -> list[Any]:
    """For each annotated frame the run lengths of all objects."""
    content = read_bytes(path, key)
    with blamed(key, path, "is no JSON of SA-V"):
        frames: list[Any] = take(json.loads(content), "masklet", list)
    return frames


def _frame(film: Video, count: int, key: str, index: int) -> Pixels:
    within(index, count, key)
    return film.frame(index * EVERY)


def _masks(
    frames: Sequence[Any], path: Path, key: str, size: tuple[int, int], number: int, asked: Sequence[int]
) -> Mask:
    """bool [T, H, W] of one object."""
    found = np.zeros((len(asked), *size), dtype=np.bool_)
    for place, index in enumerate(asked):
        within(index, len(frames), key)
        with blamed(f"{key}, frame {index}", path, "malformed mask"):
            things = frames[index]
            if not isinstance(things, list) or not number < len(things):
                raise ValueError(f"object {number} is not there; there are {shown(things)}")
            found[place] = drawn(checked(things[number], size), size)
    return found


def _records(file: Path, length: Length, name: str) -> Iterator[Listed]:
    content = read_json(file, name)
    with blamed(name, file):
        if not isinstance(content, dict):
            raise ValueError(f"is an object with an entry for each video, not {shown(content)}")
    for key, entry in content.items():
        yield attempt(f"{name}/{key}", file, partial(_record, key, entry, length))


def _record(key: str, entry: Any, length: Length) -> Record | LeftOut:
    objects = []
    for number, told in take(entry, "objects", dict).items():
        if not is_number(number):
            raise ValueError(f"object {number!r}; permitted are the numbers of objects in `masklet`")
        said = [take(told, "formated", str)] if length == LONG else texts(told, "short_caps")
        if said:
            objects.append(
                {"object": int(number), "texts": [" ".join(words(one, "a caption").split()) for one in said]}
            )
    if not objects:
        return LeftOut("films without a caption of this length")
    film, masks = (_inside(take(entry, field, str)) for field in ("video_path", "anno_path"))
    files = {"image": film, "masks": masks, "frames": None}
    return {"id": key, **files, "kind": length, "objects": objects}


def _inside(path: str) -> str:
    """A path of the file without its first folder, which is SA-V's own."""
    _, *rest = PurePosixPath(path).parts
    if not rest:
        raise ValueError(f"the path {path!r}; permitted are a folder and what is in it")
    return str(PurePosixPath(*rest))
