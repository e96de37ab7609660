"""Masks of the things in a video, decoded for the frames that are asked for: run lengths in one file, or label maps in folders.

What a record keeps of a thing is what its store finds it by: the number of a track, or a folder and a value in its label maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seglm.dataset.description import Description
from seglm.dataset.faults import attempt, fault
from seglm.dataset.fields import shown
from seglm.dataset.frames import Pixels, read_labels
from seglm.dataset.index import Index, Listed, Record, open_index
from seglm.dataset.masks import Mask, checked, drawn, run_size
from seglm.dataset.readers.files import files_in, missing, read_json, the_one
from seglm.dataset.readers.stills import Still
from seglm.dataset.readers.unpickle import unpickle

Things = Sequence[Any]
REMEMBERED = 16  # tracks or label maps of a sample: all expressions about a frame read them once
TOLD = 5  # frames without a mask that are named


@dataclass(frozen=True)
class Opened:
    """The masks of one video."""

    mask: Callable[[Things, int], Mask]
    """things, frame -> bool [H, W], their union"""
    known: Callable[[Things], tuple[int, ...] | None]
    """frames in which they have a mask; None for all. Raises ValueError if one is missing that has to be there"""
    ignore: Callable[[int], Mask] | None = None
    """frame -> bool [H, W], what is neither one thing nor another"""


class Store(Protocol):
    def open(self, still: Still, names: Sequence[str], size: tuple[int, int]) -> Opened:
        """still: where the video lies; names: of its frames; size: (H, W) of them."""
        ...


@dataclass(frozen=True)
class Hidden:
    """Masks that only a server has."""

    def open(self, still: Still, names: Sequence[str], size: tuple[int, int]) -> Opened:
        return Opened(self.none, lambda things: ())

    def none(self, things: Things, frame: int) -> Mask:
        raise ValueError("the masks of this split are not published; a server scores it")


# ---- run lengths ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Track:
    """As much of a track as has to be known when expressions are listed."""

    number: int
    """in the index, by which it is found"""
    length: int
    size: list[int] | None
    """[H, W]; None if no frame shows it"""


@dataclass(frozen=True)
class Tracks:
    """`mask_dict`: for each annotation a list with COCO's run lengths, or nothing, for each frame. A thing is a number."""

    index: Index
    file: Path

    def open(self, still: Still, names: Sequence[str], size: tuple[int, int]) -> Opened:
        record = lru_cache(REMEMBERED)(self.index.record)

        def mask(things: Things, frame: int) -> Mask:
            parts = [part for number in things for part in record(number)["frames"][frame] or ()]
            return drawn(parts, size)

        return Opened(mask, lambda things: None)

    def one(self, key: str, by_id: Mapping[str, Track], length: int) -> Track:
        """The track of an annotation. Raises ValueError if it is not there, or not as long as the video."""
        if key not in by_id:
            raise ValueError(f"annotation {key!r} is not in {self.file.name}, or is malformed there")
        if by_id[key].length != length:
            told = f"{by_id[key].length} masks, its video {length} frames"
            raise ValueError(f"annotation {key} has {told}")
        return by_id[key]

    def by_id(self) -> dict[str, Track]:
        """Every track by the id of its annotation; all of them are read."""
        found = {}
        for number in range(len(self.index)):
            track = self.index.record(number)
            found[track["id"]] = Track(number, len(track["frames"]), track["size"])
        return found


def open_tracks(file: Path, name: str, about: Description) -> Tracks:
    """The tracks in a JSON file or a pickle of plain values. Raises Fault; a malformed track is one of the index's faults."""
    if not file.is_file():
        raise missing(name, file, about)
    return Tracks(open_index([file], partial(_tracks, file, name), what=f"{name}/masks"), file)


def track_record(key: str, track: Any, file: Path, size: tuple[int, int] | None = None) -> Record:
    """What is kept of a track. size: (H, W), where it is known; else that of its run lengths. Raises ValueError."""
    if not isinstance(track, list):
        raise ValueError(f"masks are {shown(track)}, permitted is a list with one for each frame")
    frames: list[list[Any] | None] = []
    for number, part in enumerate(track):
        try:
            if part is not None and size is None:
                size = run_size(part)
            frames.append(None if part is None or size is None else checked(part, size))
        except ValueError as error:
            raise ValueError(f"mask {number}: {error}") from error
    return {"id": key, "image": file.name, "size": None if size is None else list(size), "frames": frames}


def _tracks(file: Path, name: str) -> Iterator[Listed]:
    content = unpickle(file, name) if file.suffix in (".pkl", ".p", ".pickle") else read_json(file, name)
    if not isinstance(content, dict):
        raise fault(name, file, f"is an object with the masks of each annotation, not {shown(content)}")
    for key in list(content):  # each is let go when it is listed: the file may be a large part of the memory
        list_one = partial(track_record, str(key), content.pop(key), file)
        yield attempt(f"{name}/annotation {key}", file, list_one)


# ---- label maps -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class LabelMaps:
    """A PNG for each frame in a folder. A thing is [folder, value]; the value null stands for all that is not 0."""

    home: Path
    """folder that holds the folders"""
    is_sparse: bool = False
    """True: frames without a PNG have no published mask; False: each needs one"""
    void: int | None = None
    """value of what is neither one thing nor another"""

    def open(self, still: Still, names: Sequence[str], size: tuple[int, int]) -> Opened:
        video = still.key.partition("/")[2]
        stems = cache(partial(_stems, self.home))

        @lru_cache(REMEMBERED)
        def labels(folder: str, frame: int) -> Pixels:
            there = stems(folder).get(names[frame], [f"{names[frame]}.png"])
            file = the_one(there, self.home / folder)
            found = read_labels(self.home / folder / file, f"{still.key}, frame {frame}")
            if found.shape != size:
                told = f"{found.shape[0]} x {found.shape[1]}, its frames are {size[0]} x {size[1]} (H x W)"
                raise ValueError(f"the mask {folder}/{file} is {told}")
            return found

        def mask(things: Things, frame: int) -> Mask:
            union = np.zeros(size, dtype=np.bool_)
            for folder, value in things:
                map_ = labels(folder, frame)
                union |= map_ > 0 if value is None else map_ == value
            return union

        ignore = None if self.void is None else lambda frame: labels(video, frame) == self.void
        return Opened(mask, partial(self._known, names, stems), ignore)

    def _known(
        self, names: Sequence[str], stems: Callable[[str], Mapping[str, list[str]]], things: Things
    ) -> tuple[int, ...] | None:
        there = [stems(folder) for folder in dict.fromkeys(folder for folder, _ in things)]
        known = tuple(number for number, name in enumerate(names) if all(name in one for one in there))
        if self.is_sparse or len(known) == len(names):
            return known if self.is_sparse else None
        absent = [name for number, name in enumerate(names) if number not in known]
        told = ", ".join(absent[:TOLD]) + (", ..." if len(absent) > TOLD else "")
        raise ValueError(f"{len(absent)} of {len(names)} frames have no mask in {self.home}: {told}")


def _stems(home: Path, folder: str) -> Mapping[str, list[str]]:
    """The names of the label maps in a folder, by those of their frames."""
    if not (home / folder).is_dir():
        raise ValueError(f"there is no folder {home / folder} of masks")
    return files_in(home / folder, ".png")
