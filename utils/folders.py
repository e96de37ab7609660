"""Folders that are written into later: looked at before minutes of work, and not made before there is something to write.

And files that stand in two of them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def nearest(folder: Path) -> Path:
    """The folder, or the nearest place above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))


def same_file(source: str | Path, target: str | Path) -> None:
    """A second name for a file, which takes no room; a copy where the disk does not allow that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def check_new(folder: Path, said: str) -> None:
    """Raises ValueError if there is something already, or a folder could not be made there; an empty one may be filled."""
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder}: exists already; give a new folder as {said}, or remove this one")
    check_writable(folder, said)


def check_writable(folder: Path, said: str) -> None:
    """Raises ValueError if files could not be written into the folder, which need not be there yet.

    said: how the user names it, a flag.
    """
    place = nearest(folder)
    if not place.is_dir():
        raise ValueError(f"{said} {folder}: {place} is there and no folder; give a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"{said} {folder}: {place} may not be written to; give another folder")
