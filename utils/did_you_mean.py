"""How an unknown name is reported: always with the nearest ones, so that a slip of the fingers costs seconds."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LISTED = 40  # names of which all are told where none is near


def nearest(name: str, known: Iterable[str], *, count: int = 3, likeness: float = 0.6) -> list[str]:
    """The known names most like `name`, best first; upper and lower case do not matter, nor do `-` and `_`.

    likeness: 0 to 1, that they have at least.
    """
    plain = {_plain(candidate): candidate for candidate in known}
    return [plain[match] for match in get_close_matches(_plain(name), plain, n=count, cutoff=likeness)]


def unknown(what: str, name: str, known: Iterable[str], *, more: str = "") -> str:
    """The message for an unknown name: `unknown recipe 'lisa_7B'; did you mean lisa_7b? (more)`."""
    known = list(known)
    close = nearest(name, known)
    if close:
        hint = f"did you mean {' or '.join(close)}?"
    elif len(known) > LISTED:
        hint = f"the nearest of {len(known)} are {', '.join(nearest(name, known, count=5, likeness=0.0))}"
    else:
        hint = f"known are {', '.join(known)}"
    return f"unknown {what} {name!r}; {hint}" + (f" ({more})" if more else "")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
