"""What was measured, on disk after every row: results.json and results.md; results.png after every part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from seglm.utils.atomic import write_atomic

Number = float | str | None
OURS, ORIGINAL = "#0072b2", "#d55e00"


@dataclass(frozen=True)
class Row:
    """One line of a part's table."""

    name: str
    numbers: Mapping[str, Number]
    """column -> value; what does not apply is None or absent"""
    failed: bool = False
    """True where something is wrong, not only slow; the command then ends with 1"""


@dataclass
class Table:
    """What a part said so far."""

    part: str
    about: str
    drawn: str
    """the column that the picture shows; empty for none"""
    status: str = "running"
    """running, done, or why it was skipped, stopped or failed"""
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)


class Record:
    """All tables of a run, and their files in `out`."""

    def __init__(self, out: Path, heading: Mapping[str, str]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.heading = out, heading
        self.tables: list[Table] = []

    @property
    def failed(self) -> list[str]:
        """The rows that say that something is wrong, as `part: row`."""
        return [f"{table.part}: {row.name}" for table in self.tables for row in table.rows if row.failed]

    def write(self, *, picture: bool = True) -> None:
        """All files, each replaced in one move; the picture takes a while, and is only drawn where it is asked for."""
        values = {"machine": dict(self.heading), "parts": [asdict(table) for table in self.tables]}
        write_atomic(self.out / "results.json", json.dumps(values, indent=1) + "\n")
        write_atomic(self.out / "results.md", self.markdown())
        if picture:
            _draw(self.out / "results.png", self.tables, title=self.heading["device"])

    def markdown(self) -> str:
        lines = [f"* {name}: {value}" for name, value in self.heading.items()]
        for table in self.tables:
            state = f"{table.status}, {table.seconds:.0f} s" if table.seconds else table.status
            lines += ["", f"## {table.part} ({state})", "", table.about]
            if table.rows:
                columns = list(dict.fromkeys(name for row in table.rows for name in row.numbers))
                lines += ["", "| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
                lines += [
                    f"| {row.name} | " + " | ".join(spelled(row.numbers.get(name)) for name in columns) + " |"
                    for row in table.rows
                ]
        return "\n".join(lines) + "\n"


def spelled(value: Number) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"


def _draw(path: Path, tables: list[Table], *, title: str) -> None:
    """One panel a part that has numbers in its drawn column, one bar a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = []
    for table in tables:
        bars = {row.name: row.numbers.get(table.drawn) for row in table.rows}
        numbers = {name: value for name, value in bars.items() if isinstance(value, (int, float))}
        if numbers:
            panels.append((table, numbers))
    heights = [len(numbers) + 1 for _, numbers in panels] or [1]
    figure = Figure(figsize=(9, 0.9 + 0.36 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize="small")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (table, numbers) in zip(axes, panels, strict=False):
        colours = [ORIGINAL if "original" in name else OURS for name in numbers]
        axis.barh(list(numbers), list(numbers.values()), color=colours, height=0.6)
        for place, value in enumerate(numbers.values()):
            axis.text(value, place, f" {spelled(value)}", va="center", fontsize="small")
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.set_title(f"{table.part}: {table.drawn}", loc="left", fontsize="small")
        axis.tick_params(labelsize="small")
    if not panels:
        axes[0].set_axis_off()
    partial = path.with_name("partial.png")
    figure.savefig(partial, dpi=100)
    partial.replace(path)
