"""Who says what, and where: rank 0 on the console and in the run's log.txt, other ranks only when something is wrong."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from seglm.utils import dist

ROOT = "seglm"
log = logging.getLogger(__name__)


class _Console(logging.Handler):
    """Writes above the progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def start(file: Path | None = None) -> None:
    """Sets up SegLM's loggers; messages of rank 0 also go to `file`, after what is there."""
    world = dist.world()
    root = logging.getLogger(ROOT)
    root.setLevel(logging.INFO if world.is_main else logging.WARNING)
    root.propagate = False
    close()
    name = "" if world.size == 1 else f"[rank {world.rank}] "
    handlers: list[logging.Handler] = [_Console()]
    if file is not None and world.is_main:
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {name}%(levelname).1s %(message)s", "%H:%M:%S"))
        root.addHandler(handler)


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
