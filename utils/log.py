"""Who says what, and where: rank 0 on the console and in the run's log.txt, other ranks only when something is wrong."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from contextlib import suppress
from logging.handlers import MemoryHandler
from pathlib import Path

from seglm.utils.atomic import full_disk

ROOT = "seglm"
REMEMBERED, NEVER = 10_000, logging.CRITICAL + 1  # messages that wait for a file, whatever their level
log = logging.getLogger(__name__)


class _Console(logging.Handler):
    """Writes above the progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


class _File(logging.FileHandler):
    """A full disk costs lines of the log and no more: what else the run writes ends it with an error."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not full_disk(sys.exc_info()[1]):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def start(file: Path | None = None) -> None:
    """Sets up SegLM's loggers; messages of rank 0 also go to `file`, after what is there, or wait for `write_to`."""
    from seglm.utils import dist  # brings torch, and commands that need none close their logs, too

    world = dist.world()
    root = logging.getLogger(ROOT)
    root.setLevel(logging.INFO if world.is_main else logging.WARNING)
    root.propagate = False
    close()
    name = "" if world.size == 1 else f"[rank {world.rank}] "
    _add(_Console(), name)
    if world.is_main:
        _add(MemoryHandler(REMEMBERED, flushLevel=NEVER, flushOnClose=False), name)
    if file is not None:
        write_to(file)


def write_to(file: Path) -> None:
    """From now on messages of rank 0 go to `file`, those since `start` first."""
    root = logging.getLogger(ROOT)
    for waiting in [handler for handler in root.handlers if isinstance(handler, MemoryHandler)]:
        in_file = _File(file, encoding="utf-8")
        _add(in_file, "")
        waiting.setTarget(in_file)
        waiting.flush()
        root.removeHandler(waiting)


def _add(handler: logging.Handler, name: str) -> None:
    handler.setFormatter(logging.Formatter(f"%(asctime)s {name}%(levelname).1s %(message)s", "%H:%M:%S"))
    logging.getLogger(ROOT).addHandler(handler)


def close() -> None:
    """Takes down the handlers and closes the file."""
    root = logging.getLogger(ROOT)
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()


def write_to_files(text: str) -> None:
    """Writes what is too long for a console into the run's log.txt, if there is one."""
    for handler in logging.getLogger(ROOT).handlers:
        if isinstance(handler, logging.FileHandler):
            handler.emit(logging.makeLogRecord({"msg": text, "levelno": logging.ERROR, "levelname": "ERROR"}))


def first_lines(parts: Iterable[tuple[str, str]]) -> None:
    """The head of a run's log: (title, text) pairs, e.g. what differs from the recipe's parent, data counts, trained weights."""
    for title, text in parts:
        log.info("%s:%s%s", title, "\n" if "\n" in text else " ", text)
