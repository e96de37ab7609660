"""What a data set consists of, one record for each image, in a form that opens at once and is shared by all workers.

Records lie one behind the other as JSON in one block of bytes; an array says where each begins. A large index is written to disk
once and mapped into memory afterwards: opening costs milliseconds whatever the annotation files weigh, and workers share its
pages. It is made anew when an annotation file or folder changes (size or time of change).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Record = dict[str, Any]
"""JSON values; `id` (str, unique in the index) and `image` (path) always, `coco` (the image's COCO id) where there is one"""

VERSION = 4  # of the records; a change makes every cached index anew
LARGE = 20_000  # records; a smaller index is made in well under a second and is not worth a file
NO_COCO = -1


class Index:
    """Records by number. `coco`: int64 [records], the COCO id of each image, -1 where there is none."""

    def __init__(self, data: NDArray[np.uint8], starts: NDArray[np.int64], coco: NDArray[np.int64]) -> None:
        self.data = data
        self.starts = starts
        self.coco = coco
        self.folder: Path | None = None

    def __len__(self) -> int:
        return len(self.coco)

    def record(self, number: int) -> Record:
        """The record of that number, 0 to len - 1."""
        left, right = self.starts[number : number + 2]
        record: Record = json.loads(self.data[left:right].tobytes())
        return record

    def __getstate__(self) -> dict[str, Any]:
        """A worker that is not forked opens the files itself instead of receiving their content."""
        return {"folder": self.folder} if self.folder else self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(_mapped(state["folder"]).__dict__ if state["folder"] else state)


def index_of(records: Iterable[Record]) -> Index:
    """An index in memory."""
    pieces = [json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() for record in records]
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces], dtype=np.int64)]).astype(
        np.int64
    )
    return Index(np.frombuffer(b"".join(pieces), dtype=np.uint8), starts, np.zeros(len(pieces), np.int64))


def open_index(files: Sequence[Path], build: Callable[[], Iterable[Record]], *, what: str) -> Index:
    """The index of some annotation files or folders; from the cache if a large one was made of the same files before.

    what: distinguishes indices that are made of the same files, e.g. `refcoco|unc|val`.
    """
    folder = _cache() / _signature(files, what)
    if (folder / "starts.npy").is_file():
        return _mapped(folder)
    records = list(build())
    index = index_of(records)
    index.coco = np.array([record.get("coco", NO_COCO) for record in records], dtype=np.int64)
    if len(index) >= LARGE:
        _store(index, folder)
    return index


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
    index = Index(data, starts, coco)
    index.folder = folder
    return index


def _store(index: Index, folder: Path) -> None:
    """Whole or not at all: another process may be writing the same."""
    draft = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True)
        for name in ("data", "starts", "coco"):
            np.save(draft / f"{name}.npy", getattr(index, name))
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
