"""The one door through which every command ends: its result, one `error:` line, or what is kept when somebody stops it."""

from __future__ import annotations

import os
import re
import select
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from subprocess import SubprocessError
from typing import ParamSpec, TypeVar

from seglm.utils import log as logs
from seglm.utils.atomic import full_disk
from seglm.utils.threads import settle

P = ParamSpec("P")
T = TypeVar("T")
TRACEBACK = "SEGLM_TRACEBACK"
EXPECTED = (ValueError, OSError, ImportError, RuntimeError, MemoryError, ArithmeticError, SubprocessError)
"""what our own code raises about a user's values, files and machine; anything else is a mistake of ours"""
FROM_WORKER = re.compile(r"Caught (\w+) in .* process \d+\.\n")
"""how PyTorch begins the text of an error that a loader process raised: the traceback there follows, then what it said"""
BY_SIGNAL = 128  # a shell's exit status of what a signal ended is this and the signal's number
BY_CTRL_C = BY_SIGNAL + 2
BY_BROKEN_PIPE = BY_SIGNAL + 13


def command(main: Callable[P, T]) -> Callable[P, T]:
    """Ends the process by one line on stderr instead of a traceback; `SEGLM_TRACEBACK=1` shows the traceback instead.

    Where a run keeps a log, the traceback is written there in any case. Of a KeyboardInterrupt the line is what it was raised
    with: what is kept, and how to go on. Where nobody reads what is printed any more (`... | head`) it ends without a word.
    First of all it settles how threads wait (`utils/threads.py`), for which PyTorch may not be loaded before `main` runs.
    """

    @wraps(main)
    def ended(*args: P.args, **kwargs: P.kwargs) -> T:
        settle()
        try:
            return _printed(main, *args, **kwargs)
        except KeyboardInterrupt as stopped:
            sys.stderr.write(f"stopped by Ctrl-C; {str(stopped) or 'nothing was finished'}\n")
            sys.exit(BY_CTRL_C)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and _has_no_reader():
                os.dup2(
                    os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
                )  # Python flushes once more when it ends
                sys.exit(BY_BROKEN_PIPE)
            if os.environ.get(TRACEBACK):
                raise
            logs.write_to_files("".join(traceback.format_exception(error)).rstrip())
            sys.exit(f"error: {_process()}{said(error)}")
        finally:
            logs.close()

    return ended


def said(error: Exception) -> str:
    """An error in words, whatever its type and process."""
    words = _words(error)
    if (why := full_disk(error)) and not isinstance(error, EXPECTED):
        return f"the disk is full ({why}); make room, or write to another place"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, EXPECTED):
        return words or ("out of memory" if isinstance(error, MemoryError) else type(error).__name__)
    return f"{type(error).__name__}: {words}; SegLM did not foresee it: {TRACEBACK}=1 shows where, please report it"


def _printed(main: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `main` gives, when all that it has printed is written: an error in that is one of the command."""
    try:
        result = main(*args, **kwargs)
    except SystemExit:  # as after --help
        _flush()
        raise
    _flush()
    return result


def _flush() -> None:
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _has_no_reader() -> bool:
    """Whether what is printed goes into a pipe at whose other end nobody is any more."""
    try:
        handle = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # no stdout, or one of a test
        return False
    ends = select.poll()
    ends.register(handle, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in ends.poll(0))


def _words(error: Exception) -> str:
    """What the error says, without the traceback that comes with one from a loader process."""
    text = str(error)
    caught = FROM_WORKER.match(text)
    return re.split(rf"\n(?:\w+\.)*{caught[1]}(?:: |$)", text)[-1].strip() if caught else text


def _process() -> str:
    """Which of several processes speaks."""
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return "" if size == "1" else f"process {rank} of {size}: "
