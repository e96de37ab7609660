"""Finding what an annotation speaks of: files, folders, class lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description
from seglm.dataset.faults import Missing, fault

CLASSES = Path(__file__).parents[1] / "classes"


def first_of(root: Path, folders: Sequence[str], key: str, about: Description) -> Path:
    """The first of these folders that is there. Raises Fault with the tree that is expected."""
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    others = f"; nor is any of {', '.join(folders[1:])}" if len(folders) > 1 else ""
    raise missing(key, root / folders[0], about, others)


def missing(key: str, path: Path, about: Description, more: str = "") -> Missing:
    """The error for a file or folder that is not there: it shows the tree that is expected."""
    tree = "".join(f"\n    {line}" for line in about.tree)
    return Missing(
        f"{key}: missing {path}{more}; expected below --dataset_dir is{tree}\n    from {about.home}"
    )


def read_json(path: Path, key: str) -> Any:
    """The content of a JSON file, utf-8. Raises Fault if it is missing or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise fault(key, path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise fault(key, path, f"is no JSON: {error}") from error


def class_names(own: Path, name: str) -> tuple[str, ...]:
    """Class names in index order, lower-cased: the data's own list if there is one, else the built-in one."""
    path = own if own.is_file() else CLASSES / f"{name}.json"
    names = read_json(path, name)
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise fault(name, path, "a class list is a JSON list of names in index order")
    return tuple(one.lower() for one in names)


def files_in(folder: Path, *endings: str) -> list[str]:
    """Names of the files with one of these endings, sorted, so that an index is the same on every disk."""
    return sorted(path.name for path in folder.iterdir() if path.suffix.lower() in endings)
