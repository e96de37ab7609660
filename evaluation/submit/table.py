"""A table of scores as a command prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

NOTHING = "-"


def table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]], convention: str) -> str:
    """Markdown, with the convention below. rows: what a line begins with -> its cells."""
    return "\n".join(
        [
            f"### {title}",
            "",
            f"| | {' | '.join(columns)} |",
            "|---|" + "---:|" * len(columns),
            *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
            "",
            f"Convention: {convention}.",
        ]
    )


def percent(value: float | None) -> str:
    """A share, 0 to 1, as percent; a dash for what there is none of."""
    return NOTHING if value is None or isnan(value) else f"{100 * value:.2f}"
