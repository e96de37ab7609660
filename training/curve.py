"""The numbers of a run: CSV and TensorBoard over the global optimizer step, and one picture of them.

The CSV files are the record (floats at full precision, one row a report); everything else is drawn from them. A resumed run drops
the rows that lie after its checkpoint and goes on, so a step stands there once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seglm.utils.atomic import write_atomic

Row = dict[str, float]
COUNTERS = ("step", "epoch")
RATES = ("lr", "lr_decoder")
ASIDE = (*COUNTERS, *RATES, "grad_norm", "seconds", "images_per_second", "waiting")
"""columns of metrics.csv that are no losses"""


class CsvTable:
    """A CSV file of numbers with `step` as its first column."""

    def __init__(self, path: Path, *, until: int | None = None) -> None:
        """until: rows after this step are dropped; None keeps all."""
        self.path = path
        self.rows = [row for row in read(path) if until is None or row["step"] <= until]
        if until is not None and path.exists():
            self._write()

    def add(self, row: Mapping[str, float]) -> None:
        """Appends a row; new columns are allowed."""
        known = set(self.rows[0]) if self.rows else set()
        self.rows.append(dict(row))
        if set(row) <= known:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, list(self.rows[0]), restval="nan", lineterminator="\n").writerow(
                    _spelled(row)
                )
        else:
            self._write()

    def _write(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        self.rows = [{name: row.get(name, float("nan")) for name in names} for row in self.rows]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_spelled, self.rows))
        write_atomic(self.path, text.getvalue())


def _spelled(row: Mapping[str, float]) -> Mapping[str, float]:
    """Counters as whole numbers, also when they come from a file."""
    return {name: int(value) if name in COUNTERS else value for name, value in row.items()}


def read(path: Path) -> list[Row]:
    """The rows of a CSV of numbers; none if there is no such file. A last line that a kill cut short is left out."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    whole = [row for row in rows if None not in row.values() and "" not in row.values()]
    return [{name: float(value) for name, value in row.items()} for row in whole]


class TensorBoard:
    """TensorBoard's files, with the global optimizer step as x."""

    def __init__(self, folder: Path, *, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # purge_step hides what an interrupted run wrote after its checkpoint.
        self._writer: Any = SummaryWriter(str(folder), purge_step=first_step or None)

    def add(self, group: str, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(f"{group}/{name}", value, int(row["step"]))

    def close(self) -> None:
        self._writer.close()


def draw(path: Path, metrics: Sequence[Row], scores: Sequence[Row]) -> None:
    """A PNG of losses, learning rate and validation scores, each over the optimizer step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 8))
    # A fixed layout: matplotlib's own engines draw everything twice, and this is drawn after each epoch.
    figure.subplots_adjust(left=0.12, right=0.97, top=0.98, bottom=0.07, hspace=0.1)
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 2))
    columns_of_metrics = metrics[0] if metrics else {}
    losses = [name for name in columns_of_metrics if name not in ASIDE]
    rates = [name for name in RATES if name in columns_of_metrics]
    names = {name: None for row in scores for name in row if name not in ASIDE}
    for axis, rows, columns, title in (
        (axes[0], metrics, losses, "loss"),
        (axes[1], metrics, rates, "learning rate"),
        (axes[2], scores, list(names), "validation"),
    ):
        for column in columns:
            points = [(row["step"], row[column]) for row in rows if column in row]
            axis.plot(
                [x for x, _ in points],
                [y for _, y in points],
                label=column,
                marker="o" if rows is scores else None,
            )
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
        if len(columns) > 1:
            axis.legend(fontsize="small")
    axes[-1].set_xlabel("optimizer step")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    write_atomic(path, picture.getvalue())
