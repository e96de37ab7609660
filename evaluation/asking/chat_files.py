"""Under which name the masks of a picture or video are written: its own, and two pictures of one name do not share it."""

from __future__ import annotations

import json
import os
import re
import shutil
from itertools import count
from pathlib import Path

from seglm.utils.atomic import write_atomic
from seglm.utils.folders import check_writable

INDEX = "pictures.json"
"""in the folder of masks: name of the files -> picture that they are masks of"""


def claimed(picture: Path, folder: Path) -> str:
    """The beginning of the names of this picture's files in the folder: its stem, or `<stem>_2` where another picture has that.

    The same picture gets the same name again, and its files of before are removed, so that what lies there belongs to one answer.
    A name is also another's where its files lie in the folder and nobody wrote down whose they are.
    Raises ValueError for a folder that cannot be written to, or whose INDEX is damaged.
    """
    check_writable(folder, "--vis_save_path")
    folder.mkdir(parents=True, exist_ok=True)
    index, whole = _index(folder), os.path.abspath(picture)
    known = next((name for name, other in index.items() if other == whole), None)
    if known is not None:
        for old in _files(folder, known):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        return known
    names = (picture.stem if number == 1 else f"{picture.stem}_{number}" for number in count(1))
    free = next(name for name in names if name not in index and not _files(folder, name))
    write_atomic(folder / INDEX, json.dumps(index | {free: whole}, indent=1) + "\n")
    return free


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
