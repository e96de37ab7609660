"""Files that have an end: a pipe waits for somebody who writes, a device may go on for ever."""

from __future__ import annotations

import stat
from pathlib import Path


def refuse_endless(path: Path) -> None:
    """Raises ValueError for a pipe, a socket or a device, OSError for what is not there; a folder is left to who opens it."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError("is a pipe or a device, permitted is a file")
