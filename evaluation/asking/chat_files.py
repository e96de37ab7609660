"""Where the files of an answer go: under the picture's or video's own name, which no two share, and whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from seglm.utils.atomic import NEW, write_atomic
from seglm.utils.folders import check_writable

INDEX = "pictures.json"
"""in the folder of masks: name of the files -> picture that they are masks of"""


def claimed(picture: Path, folder: Path) -> str:
    """The beginning of the names of this picture's files in the folder: its stem, or `<stem>_2` where another picture has that.

    The same picture gets the same name again. A name is also another's where its files lie in the folder and nobody wrote down
    whose they are.
    Raises ValueError for a folder that cannot be written to, or whose INDEX is damaged.
    """
    check_writable(folder, "--vis_save_path")
    folder.mkdir(parents=True, exist_ok=True)
    index, whole = _index(folder), os.path.abspath(picture)
    if known := _known(index, whole):
        return known
    names = (picture.stem if number == 1 else f"{picture.stem}_{number}" for number in count(1))
    free = next(name for name in names if name not in index and not _files(folder, name))
    write_atomic(folder / INDEX, json.dumps(index | {free: whole}, indent=1) + "\n")
    return free


@contextmanager
def replacing(folder: Path, name: str) -> Iterator[Path]:
    """Inside, the files of an answer are written into the folder that this gives; at the end they take the place of those of
    the answer before, so that what lies there belongs to one answer.

    An answer without a file, or one that fails or is stopped, leaves those of before where they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{name}{NEW}"
    shutil.rmtree(fresh, ignore_errors=True)  # of a chat that was killed
    fresh.mkdir()
    try:
        yield fresh
        new = list(fresh.iterdir())
        for old in _files(folder, name) if new else ():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for file in new:
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def earlier(picture: Path, folder: Path) -> list[str]:
    """Names of the files and folders that an answer about this picture or video left in the folder."""
    known = _known(_index(folder), os.path.abspath(picture))
    return sorted(file.name for file in _files(folder, known)) if known else []


def _known(index: dict[str, str], whole: str) -> str | None:
    return next((name for name, other in index.items() if other == whole), None)


def _files(folder: Path, name: str) -> list[Path]:
    ours = re.compile(re.escape(name) + r"_(mask_\d+(\.png)?|masked_img_\d+\.jpg|masked\.mp4|strip\.png)")
    return [file for file in folder.iterdir() if ours.fullmatch(file.name)]


def _index(folder: Path) -> dict[str, str]:
    file = folder / INDEX
    if not file.is_file():
        return {}
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: damaged ({error}); remove it, or give another --vis_save_path") from error
    if not isinstance(index, dict) or not all(isinstance(value, str) for value in index.values()):
        raise ValueError(f"{file}: not what chat.py writes; remove it, or give another --vis_save_path")
    return index
