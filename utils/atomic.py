"""Files and folders that are there whole or not at all, whatever happens in between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def write_atomic(path: Path, text: str) -> None:
    """The file has the old text or the new one, whatever happens in between."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    sync_folder(path.parent)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replaces `folder` by one that `fill` writes; a reader that calls `settle` first sees the old one or the new one."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    settle(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    fresh.mkdir(parents=True)
    fill(fresh)
    sync_tree(fresh)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def settle(folder: Path) -> None:
    """Puts back the old folder if `write_folder` was killed between its two renames."""
    old = folder.with_name(folder.name + ".old")
    if not folder.exists() and old.exists():
        os.replace(old, folder)


def sync_tree(folder: Path) -> None:
    """Everything below `folder` is on the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)


def sync_folder(folder: Path) -> None:
    """The names in `folder` are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
