"""What is raised when a data set is not what it should be, and the one way by which any error becomes that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

OURS = (AssertionError, NameError, ImportError, NotImplementedError)
"""what no data can cause: a mistake in a program keeps its traceback"""

ADVICE = "; `python -m seglm.dataset.check` lists every such sample"


class Fault(RuntimeError):
    """A missing or malformed file; the message begins with the sample's key and names the file.

    Made of one string, so that it survives the way out of a loader's worker.
    """


class Missing(Fault):
    """A whole file or folder of a data set is not there."""


class Broken(ValueError):
    """A picture or video that somebody gives, of no data set, cannot be read."""


def fault(key: str, path: Path | str, what: str) -> Fault:
    """The error for a sample: `key: what (path)`, and ADVICE."""
    place = "" if str(path) == key else f" ({path})"
    return Fault(f"{key}: {what}{place}{ADVICE}")


def without_advice(told: str) -> str:
    """What a fault tells, for the check itself, and for a picture that is of no data set."""
    return told.removesuffix(ADVICE)


@contextmanager
def of_no_data_set() -> Iterator[None]:
    """A fault of a picture or video that somebody asks about is Broken: nothing is to be checked but this one."""
    try:
        yield
    except Fault as error:
        raise Broken(without_advice(str(error))) from error


@contextmanager
def blamed(key: str, path: Path | str, what: str = "malformed record") -> Iterator[None]:
    """Whatever goes wrong inside, in Python or in a library of C, is a Fault of this key and file: `key: what: error (path)`.

    It stands where records are listed, where one is read and where one is decoded, so that no reader lists exceptions itself.
    """
    try:
        yield
    except (Fault, *OURS):
        raise
    except Exception as error:
        raise fault(key, path, _told(error, what)) from error


def attempt(key: str, path: Path | str, make: Callable[[], T]) -> T | Fault:
    """What `make` returns, or the fault that it ends in: a list goes on behind a malformed entry."""
    try:
        with blamed(key, path):
            return make()
    except Fault as error:
        return error


def _told(error: Exception, what: str) -> str:
    """ValueError is how readers speak, in whole sentences; of others the type says more than the text."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    said = " ".join(str(error).split())[:300]
    return f"{what}: {said}" if type(error) is ValueError else f"{what}: {type(error).__name__} {said}"
