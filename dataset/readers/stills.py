"""A data set of single images: an index of records, and a reader that turns a record into a sample."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.description import Description
from seglm.dataset.faults import Fault, blamed, fault
from seglm.dataset.frames import Pixels, frame_size, read_frame
from seglm.dataset.index import NO_COCO, Index, Listed, Record, open_index
from seglm.dataset.masks import Mask, drawn
from seglm.dataset.readers.files import missing
from seglm.utils.types import Sample

NOTHING = "(nothing is shown)"
"""`image` of a record of words alone"""
MOST_LETTERS = 1_000_000  # of a sample, for its length; no conversation has so many


@dataclass(frozen=True)
class Still:
    """Where one image lies."""

    key: str
    root: Path
    """folder that paths in records are relative to"""
    path: Path
    """the image file"""

    def size(self) -> tuple[int, int]:
        """(H, W) from the file's head. Raises Fault."""
        return frame_size(self.path, self.key)

    def frame(self, size: tuple[int, int] | None = None) -> Pixels:
        """uint8 [H, W, 3], RGB. Raises Fault if it is not of `size`."""
        return read_frame(self.path, self.key, size)

    def masks(self, parts: Sequence[Any], size: tuple[int, int], frames: Sequence[int]) -> Mask:
        """bool [T, H, W]: a COCO annotation in every frame; parts: what `masks.checked` made of it when it was listed."""
        return np.broadcast_to(drawn(parts, size), (len(frames), *size))


class Reader(Protocol):
    def __call__(self, record: Record, still: Still) -> Sample:
        """The sample of a record. Whatever it raises is taken for a malformed record, but for mistakes in a program."""
        ...


@dataclass(frozen=True)
class Stills:
    """A source of images; see `dataset.pipeline.Source`."""

    name: str
    """data set and split, `refcoco|unc|train`"""
    family: str
    root: Path
    index: Index
    read: Reader
    annotations: Path
    """file or folder that the records come from, for messages"""
    kept: NDArray[np.int64] | None = None
    """numbers of the records that are used; None for all"""
    place: Callable[[str], str] | None = None
    """a record's image -> its path below `root`, looked for when a sample is read; None where the record has the path"""
    files: tuple[Path, ...] = ()
    """files and folders that say what is true of it"""

    def __len__(self) -> int:
        return len(self.index if self.kept is None else self.kept)

    def sample(self, index: int) -> Sample:
        """The sample of that index, 0 to len - 1. Raises Fault with its key if its record or its file is malformed."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: sample {index} of {len(self)}")
        record = self.index.record(int(index if self.kept is None else self.kept[index]))
        with blamed(f"{self.name}/{record['id']}", self.annotations):
            return self.read(record, self.still(record))

    def still(self, record: Record) -> Still:
        """Where a record's image lies, or would lie."""
        image = record["image"] if self.place is None else self.place(record["image"])
        return Still(f"{self.name}/{record['id']}", self.root, self.root / image)

    def length(self, index: int) -> int:
        """What is shown first (nothing, a picture, a video), then the letters that are said; nothing but the record is read."""
        record = self.index.record(int(index if self.kept is None else self.kept[index]))
        shown = 2 if "frames" in record else int(record["image"] != NOTHING)
        said = [text for turn in record.get("turns", ()) for text in turn]
        said += [
            record.get("caption", ""),
            *(one for region in record.get("regions", ()) for one in region["captions"]),
        ]
        return shown * MOST_LETTERS + min(sum(map(len, said)), MOST_LETTERS - 1)

    def keys(self) -> Iterator[str]:
        """The key of every sample, in order; nothing is decoded."""
        numbers = range(len(self.index)) if self.kept is None else self.kept.tolist()
        return (f"{self.name}/{self.index.record(number)['id']}" for number in numbers)

    def fingerprint(self) -> str:
        """By which other annotations are told from these: size and time of each of `files`, at any depth; none is opened."""
        known = [
            (os.path.relpath(path, file.parent), stat.st_size, stat.st_mtime_ns)
            for file in self.files
            for path in _below(file)
            for stat in (os.stat(path),)
        ]
        return hashlib.sha256(json.dumps(sorted(known)).encode()).hexdigest()[:24]

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the entries that are malformed; they are no samples."""
        return self.index.faults

    @property
    def has_coco(self) -> bool:
        """Whether some of its images are COCO's, by their ids."""
        return bool((self.index.coco != NO_COCO).any())

    def whole(self) -> Stills:
        """Itself. Raises Fault if an entry is malformed: nobody trains or scores on what is left without knowing."""
        if self.faults:
            more = f"\n{len(self.faults) - 1} more entries are malformed" if len(self.faults) > 1 else ""
            raise Fault(self.faults[0] + more)
        return self

    def without(self, images: Collection[int]) -> Stills:
        """The same source without the images of these COCO ids; itself if it has none of them."""
        numbers = np.arange(len(self.index)) if self.kept is None else self.kept
        kept = numbers[~np.isin(self.index.coco[numbers], list(images))]
        return self if len(kept) == len(numbers) else replace(self, kept=kept)


def open_stills(
    root: Path,
    split: str,
    about: Description,
    read: Reader,
    list_records: Callable[[str], Iterable[Listed]],
    *,
    files: Sequence[Path],
    images: Path | None = None,
    truth: Sequence[Path] = (),
    keep: bool = False,
    place: Callable[[str], str] | None = None,
) -> Stills:
    """The source whose records `list_records(name)` makes of `files`; image paths are relative to `images` (default: `root`).

    truth: further folders, from which masks are read later. keep: see `open_index`; place: see `Stills`.
    Raises Fault if one of the files or folders is missing.
    """
    name = f"{about.name}|{split}"
    for file in files:
        if not file.exists():
            raise missing(name, file, about)
    index = open_index(files, partial(list_records, name), what=name, keep=keep)
    if not len(index) and not index.faults:
        raise fault(name, files[0], "holds no sample")
    everything = tuple(dict.fromkeys((*files, *truth)))
    return Stills(name, about.family, images or root, index, read, files[0], place=place, files=everything)


def _below(file: Path) -> Iterator[str]:
    """A file, or all that lie in a folder but for hidden ones."""
    if not file.is_dir():
        yield str(file)
    for folder, _, names in os.walk(file, followlinks=True):
        shown = (os.path.join(folder, name) for name in names if not name.startswith("."))
        yield from filter(os.path.isfile, shown)
