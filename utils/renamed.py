"""Names that a library changed within the range of releases we take; what is there decides, not a version number."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def argument_of(function: Callable[..., Any], *names: str) -> str:
    """The first of the names that the function has as an argument; the newest name stands first.

    Raises ImportError, which names the function and its arguments, if it has none of them.
    """
    found = inspect.signature(function).parameters
    return _first(names, found, f"argument of {function.__qualname__}", tuple(found))


def method_of(thing: object, *names: str) -> Any:
    """The first of the methods that the object has; the newest name stands first. Raises ImportError if it has none of them."""
    kind = type(thing)
    return getattr(thing, _first(names, dir(kind), f"method of {kind.__qualname__}", ()))


def _first(names: tuple[str, ...], found: Any, what: str, known: tuple[str, ...]) -> str:
    name = next((name for name in names if name in found), None)
    if name is None:
        told = f" it has {', '.join(known)};" if known else ""
        raise ImportError(
            f"no {what} is called {' or '.join(names)};{told} this release of the library is none we know: "
            "install what requirements.txt lists"
        )
    return name
