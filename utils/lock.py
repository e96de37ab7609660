"""A file that one process holds at a time. The kernel frees it when that process ends, however it ends.

These are POSIX's record locks: they work across the machines of an NFS mount, and a forked loader process does not inherit them.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path

HELD = (errno.EACCES, errno.EAGAIN)
UNABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""what file systems without locks say, as some NFS and Lustre mounts are"""
log = logging.getLogger(__name__)
_held: dict[Path, int] = {}
"""open files by path; closing any other handle of such a file would free it, so a held one is not opened again"""


def take(path: Path) -> str:
    """Takes the lock and returns nothing, or who has it. A process may take again what it has.

    Where the file system knows no locks a warning says that nobody is kept out.
    """
    path = path.absolute()
    while path not in _held:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        who = _lock(handle)
        if who:
            os.close(handle)
            return who
        if _is_at(path, handle):
            with suppress(OSError):  # a full disk; it is for others to read and no more
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
            _held[path] = handle
        else:  # somebody has freed it, and so removed this file, since it was opened
            os.close(handle)
    return ""


def holder(path: Path) -> str:
    """Who else has the lock; empty if nobody has. Takes nothing and makes no file."""
    if path.absolute() in _held or not os.access(path, os.W_OK):
        return ""
    handle = os.open(path, os.O_RDWR)
    try:
        return _lock(handle)
    finally:
        os.close(handle)


def free(path: Path) -> None:
    """Gives the lock back, if this process has it, and removes the file."""
    handle = _held.pop(path.absolute(), None)
    if handle is not None:
        if _is_at(path, handle):
            path.unlink()
        os.close(handle)


def _lock(handle: int) -> str:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return os.read(handle, 300).decode(errors="replace") or "another process"
        if error.errno not in UNABLE:
            raise
        log.warning(
            "this file system has no locks (%s): another process that writes the same files is not kept out",
            error,
        )
    return ""


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
