"""What a data set consists of, one record for each image, in a form that opens at once and is shared by all workers.

Records lie one behind the other as JSON in one block of bytes; an array says where each begins. A large index is written to disk
once and read from there afterwards: opening costs milliseconds whatever the annotation files weigh, and workers hold nothing of
it. Of several processes that open the same large files one makes it, and the others wait. It is made anew when an annotation
file or folder changes (size or time of change).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.faults import Fault, attempt, blamed, fault
from seglm.dataset.fields import take, words
from seglm.utils import lock

log = logging.getLogger(__name__)

Record = dict[str, Any]
"""JSON values; `id` (str, unique in the index) and `image` (a path, or what `Stills.place` makes one of) always, `coco` (the
image's COCO id) where there is one. Nothing that is looked for on disk: a kept index would not see that a file came later."""

VERSION = 8  # of the records; a change makes every cached index anew
LARGE = 20_000  # records; a smaller index is made in well under a second and is not worth a file
LARGE_BYTES = (
    2**24
)  # of all records; few of them may hold much, such as the masks of a thing in all frames of a video
LARGE_FILES = 2**26  # bytes of annotations; reading more takes several times that in memory, and seconds
WAIT = 0.2  # seconds between two looks at whether another process is done
NO_COCO = -1
TOLD = "told.json"  # in a kept index: its faults and what was left out


@dataclass(frozen=True)
class LeftOut:
    """An entry that is no sample by the rules of its data set and no fault; how many there are is said."""

    why: str
    """what they are, in the plural: `refs without a sentence`"""


Listed = Record | Fault | LeftOut
"""what a list of records holds"""


class Index:
    """Records by number. `coco`: int64 [records], the COCO id of each image, -1 where there is none."""

    faults: tuple[str, ...] = ()
    """of the entries that are malformed: they have no number"""
    left_out: Mapping[str, int] = {}
    """what -> how many"""

    def __init__(
        self, data: NDArray[np.uint8] | Stored, starts: NDArray[np.int64], coco: NDArray[np.int64]
    ) -> None:
        self.data = data
        self.starts = starts
        self.coco = coco
        self.folder: Path | None = None

    def __len__(self) -> int:
        return len(self.coco)

    def record(self, number: int) -> Record:
        """The record of that number, 0 to len - 1."""
        left, right = self.starts[number : number + 2]
        stored = (
            self.data.read(left, right) if isinstance(self.data, Stored) else self.data[left:right].tobytes()
        )
        record: Record = json.loads(stored)
        return record

    def __getstate__(self) -> dict[str, Any]:
        """A worker that is not forked opens the files itself instead of receiving their content."""
        return {"folder": self.folder} if self.folder else self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(_mapped(state["folder"]).__dict__ if state["folder"] else state)


class Stored:
    """Bytes of a file, read where they are asked for.

    Not a mapping: of a large file the kernel would map megabytes around each record, and count them as the worker's.
    """

    def __init__(self, path: Path, offset: int) -> None:
        self.file = path.open("rb", buffering=0)
        self.offset = offset
        self.lock = threading.Lock()

    def read(self, left: int, right: int) -> bytes:
        """From one place to another, counted from the offset."""
        if hasattr(os, "pread"):  # moves no place that threads and forked workers share
            return os.pread(self.file.fileno(), int(right - left), int(self.offset + left))
        with self.lock:
            self.file.seek(self.offset + left)
            return self.file.read(right - left)


def open_index(
    files: Sequence[Path], build: Callable[[], Iterable[Listed]], *, what: str, keep: bool = False
) -> Index:
    """The index of some annotation files or folders; from the cache if a large one was made of the same files before.

    what: distinguishes indices that are made of the same files, and begins the names of their faults, e.g. `refcoco|unc|val`.
    keep: True for one that is kept however small it is, since much is read to make it.
    Raises Fault if listing ends early; a malformed entry alone is one of `Index.faults`.
    """
    folder = _cache() / _signature(files, what)
    if _is_kept(folder):
        return _mapped(folder)
    with _alone(folder, files, what) as others_wait:
        if _is_kept(folder):
            return _mapped(folder)
        with blamed(what, files[0], "its records cannot be listed"):
            index = _index_of(_each_once(build(), what, files[0]))
        if keep or others_wait or len(index) >= LARGE or index.starts[-1] >= LARGE_BYTES:
            _store(index, folder)
    return _mapped(folder) if _is_kept(folder) else index


@contextmanager
def _alone(folder: Path, files: Sequence[Path], what: str) -> Iterator[bool]:
    """Inside, no other process makes the same index of large files, or another has made it meanwhile.

    Gives False for small files, and where the cache cannot be written: nobody waits then.
    """
    mine = folder.with_name(f"{folder.name}.lock")
    try:
        is_large = sum(file.stat().st_size for file in files) >= LARGE_FILES
        if is_large:
            mine.parent.mkdir(parents=True, exist_ok=True)
        who = lock.take(mine) if is_large else ""
    except OSError:
        is_large, who = False, ""
    if who:
        log.info("%s: %s makes its index; waiting for it", what, who)
    while who and not _is_kept(folder):
        time.sleep(WAIT)
        who = lock.take(mine)
    try:
        yield is_large
    finally:
        lock.free(mine)


def _is_kept(folder: Path) -> bool:
    return (folder / "starts.npy").is_file()


def _index_of(entries: Iterable[tuple[bytes, int] | Fault | LeftOut]) -> Index:
    """An index in memory."""
    pieces: list[bytes] = []
    coco: list[int] = []
    faults: list[str] = []
    left_out: Counter[str] = Counter()
    for entry in entries:
        if isinstance(entry, Fault):
            faults.append(str(entry))
        elif isinstance(entry, LeftOut):
            left_out[entry.why] += 1
        else:
            pieces.append(entry[0])
            coco.append(entry[1])
    starts = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    index = Index(np.frombuffer(b"".join(pieces), dtype=np.uint8), starts, np.array(coco, dtype=np.int64))
    index.faults, index.left_out = tuple(faults), dict(left_out)
    return index


def _each_once(
    entries: Iterable[Listed], what: str, file: Path
) -> Iterator[tuple[bytes, int] | Fault | LeftOut]:
    """Records as they are kept, with their COCO ids; one whose id was there before is a fault that names both images."""
    images: dict[str, str] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, (Fault, LeftOut)):
            yield entry
            continue
        kept = attempt(f"{what}/record {number}", file, partial(_kept, entry))
        if isinstance(kept, Fault):
            yield kept
        elif (key := entry["id"]) in images:
            both = f"{images[key]} and {entry['image']}"
            yield fault(f"{what}/{key}", file, f"two records have this name, of {both}")
        else:
            images[key] = entry["image"]
            yield kept


def _kept(record: Record) -> tuple[bytes, int]:
    words(take(record, "id", str), "`id`")
    words(take(record, "image", str), "`image`")
    coco = record.get("coco", NO_COCO)
    if type(coco) is not int or not NO_COCO <= coco < 2**63:
        raise ValueError(f"`coco` is {coco!r}, permitted is the number of a COCO image")
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(), coco


def _cache() -> Path:
    """$SEGLM_CACHE, else the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SEGLM_CACHE") or Path(home) / "seglm") / "index"


def _signature(files: Sequence[Path], what: str) -> str:
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([VERSION, what, stats]).encode()).hexdigest()[:24]


def _mapped(folder: Path) -> Index:
    data, starts, coco = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("data", "starts", "coco")
    )
    index = Index(Stored(folder / "data.npy", data.offset), starts, coco)
    index.folder = folder
    told = json.loads((folder / TOLD).read_text(encoding="utf-8"))
    index.faults, index.left_out = tuple(told["faults"]), told["left_out"]
    return index


def _store(index: Index, folder: Path) -> None:
    """Whole or not at all: another process may be writing the same."""
    draft = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True)
        for name in ("data", "starts", "coco"):
            np.save(draft / f"{name}.npy", getattr(index, name))
        told = {"faults": index.faults, "left_out": dict(index.left_out)}
        (draft / TOLD).write_text(json.dumps(told), encoding="utf-8")
        if not folder.exists():
            draft.rename(folder)
    except OSError as error:
        log.warning(
            "the index is not kept in %s (%s): it is made anew each time; set SEGLM_CACHE to a folder of yours",
            folder,
            error,
        )
    finally:
        shutil.rmtree(draft, ignore_errors=True)
