"""Many faults in one line: how many there are, and the first few by name."""

from __future__ import annotations

from collections.abc import Sequence

TOLD = 5  # names of many


def some_of(names: Sequence[str]) -> str:
    """The first names, and dots for the others."""
    return ", ".join(names[:TOLD]) + (", ..." if len(names) > TOLD else "")


def counted(count: int, what: str, names: Sequence[str]) -> str:
    """`3 files are missing (a, b, c)`; empty for none."""
    return f"{count} {what} ({some_of(names)})" if count else ""
