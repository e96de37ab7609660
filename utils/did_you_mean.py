"""How an unknown name is reported: always with the nearest ones, so that a slip of the fingers costs seconds."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """The known names most like `name`, best first; upper and lower case do not matter, nor do `-` and `_`."""
    plain = {_plain(candidate): candidate for candidate in known}
    return [plain[match] for match in get_close_matches(_plain(name), plain, n=count, cutoff=0.6)]


def unknown(what: str, name: str, known: Iterable[str], *, more: str = "") -> str:
    """The message for an unknown name: `unknown recipe 'lisa_7B'; did you mean lisa_7b? (more)`."""
    known = list(known)
    close = nearest(name, known)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
    return f"unknown {what} {name!r}; {hint}" + (f" ({more})" if more else "")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
