"""Files and folders that are there whole or not at all, whatever happens in between."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

NEW, OLD = ".new", ".old"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_SAID = re.compile("No space left on device|Disk quota exceeded|File too large")
UNFINISHED = re.compile(r"unexpected pos \d+ vs|iostream error")
"""what torch.save says whatever the reason: it keeps neither the number of the error nor its words"""


def full_disk(error: BaseException | None) -> str:
    """Why a write failed, if it was for want of room (a full disk, a quota, a limit of file sizes); else empty."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return os.strerror(error.errno)
        if found := FULL_SAID.search(str(error)):
            return found[0]
        if UNFINISHED.search(str(error)):
            return "a file could not be written to its end"
        error = error.__cause__ or error.__context__
    return ""


def write_atomic(path: Path, content: str | bytes, *, is_durable: bool = True) -> None:
    """The file has the old content or the new one, whatever happens in between.

    is_durable: also if the machine loses its power; False for one of many thousand files: only the process may be killed.
    """
    fresh = path.with_name(path.name + NEW)
    try:
        with open(fresh, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    if is_durable:
        sync_folder(path.parent)


def follow_umask(path: Path) -> None:
    """Gives a file the rights that a new one has; safetensors writes through a temporary file that only its owner may read."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replaces `folder` by one that `fill` writes; a reader that calls `settle` first sees the old one or the new one."""
    fresh, old = folder.with_name(folder.name + NEW), folder.with_name(folder.name + OLD)
    settle(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        fill(fresh)
        sync_tree(fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    while fresh.exists():
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(fresh, folder)
        except OSError as error:
            # A reader has settled in between; an empty folder would be no obstacle.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def settle(folder: Path) -> None:
    """Puts back the old folder if `write_folder` was killed between its two renames."""
    old = folder.with_name(folder.name + OLD)
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


def remove_halves(path: Path) -> None:
    """What a write of this file or folder left that was killed."""
    settle(path)
    for half in (path.with_name(path.name + NEW), path.with_name(path.name + OLD)):
        if half.is_dir():
            shutil.rmtree(half)
        else:
            half.unlink(missing_ok=True)
