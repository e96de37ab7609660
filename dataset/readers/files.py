"""Finding what an annotation speaks of: files, folders, class lists."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description
from seglm.dataset.faults import Missing, blamed, fault
from seglm.dataset.fields import shown
from seglm.dataset.frames import read_bytes
from seglm.utils.encoding import WESTERN, text_of

log = logging.getLogger(__name__)

CLASSES = Path(__file__).parents[1] / "classes"


def first_of(root: Path, folders: Sequence[str], key: str, about: Description) -> Path:
    """The first of these folders that is there. Raises Fault with the tree that is expected."""
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    others = f"; nor is any of {', '.join(folders[1:])}" if len(folders) > 1 else ""
    raise missing(key, root / folders[0], about, others)


def place_in(home: Path, folders: Sequence[str], image: str) -> str:
    """A path below `home`: in the first of these folders of it that has the image, in the first of all if none has."""
    places = [f"{folder}/{image}".lstrip("/") for folder in folders]
    return next((place for place in places if (home / place).exists()), places[0])


def first_file(folder: Path, names: Sequence[str]) -> Path:
    """The first of these files that is there, or the first of all."""
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def missing(key: str, path: Path, about: Description, more: str = "") -> Missing:
    """The error for a file or folder that is not there: it shows the tree that is expected."""
    return Missing(
        f"{key}: missing {path}{more}; expected below --dataset_dir: {', '.join(about.tree)} (from {about.home})"
    )


def read_json(path: Path, key: str) -> Any:
    """The content of a JSON file, in UTF-8 or in what its first bytes say; western text of Windows is taken, and said once.

    Raises Fault if it is missing or no JSON, with what its encoding may be.
    """
    content = read_bytes(path, key)
    with blamed(key, path, "is no JSON"):
        text, encoding = text_of(content)
        if encoding == WESTERN:
            _say_western(key.partition("/")[0], path.parent)
        return json.loads(text, object_pairs_hook=_once)


def list_of(content: Any, what: str, key: str, path: Path) -> list[Any]:
    """The content of a file that is a list of what `what` says. Raises Fault for anything else."""
    if not isinstance(content, list):
        raise fault(key, path, f"is a list of {what}, not {shown(content)}")
    return content


def _once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with each name once: of two videos of one name, say, JSON's own reading keeps the last and says nothing."""
    found = dict(fields)
    if len(found) < len(fields):
        twice = next(name for name, count in Counter(name for name, _ in fields).items() if count > 1)
        raise ValueError(f"two fields of one object are called {shown(twice)}")
    return found


def class_names(own: Path, name: str) -> tuple[str, ...]:
    """Class names in index order, lower-cased: the data's own list if there is one, else the built-in one."""
    path = own if own.is_file() else CLASSES / f"{name}.json"
    names = read_json(path, name)
    if not isinstance(names, list) or not all(isinstance(one, str) and one.strip() for one in names):
        raise fault(name, path, "a class list is a JSON list of names in index order")
    return tuple(one.lower() for one in names)


def files_in(folder: Path, *endings: str) -> dict[str, list[str]]:
    """Stem -> the names of its files with one of these endings, in any case; sorted, so that an index is the same on every disk.

    Hidden files are none: macOS lays a `._x.png` beside every `x.png` that it copies.
    """
    found = defaultdict(list)
    for file in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(file)
        if ending.lower() in endings and not file.startswith("."):
            found[stem].append(file)
    return dict(found)


def the_one(files: Sequence[str], folder: Path) -> str:
    """The only one of the files of a name. Raises ValueError that names them all if there are more."""
    if len(files) > 1:
        raise ValueError(
            f"{' and '.join(files)} are files for one name in {folder}; which is meant? Move the other"
        )
    return files[0]


@cache
def _say_western(name: str, folder: Path) -> None:
    log.warning("%s: files in %s are in %s, not in UTF-8; they are read as that", name, folder, WESTERN)
