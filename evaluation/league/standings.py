"""The league's table: mean and spread over seeds, for each benchmark, as Markdown and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from seglm.evaluation.league.compete import Failed, Played
from seglm.evaluation.league.entrants import Budget
from seglm.evaluation.scores.columns import Column
from seglm.evaluation.table import MISSING, numbers

MARKDOWN, CSV = "league.md", "league.csv"
SPREAD = "\N{PLUS-MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """One number of a row: its seeds together."""

    row: str
    benchmark: str
    column: str
    """`gIoU`, `J&F` ..., or the kind of the expressions that the first of these is of"""
    n: int
    """expressions"""
    values: tuple[float, ...]
    """percent, one a seed; a seed for which there is no such number is left out"""

    @property
    def mean(self) -> float | None:
        return mean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds (n - 1); None for fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        if self.mean is None:
            return MISSING
        return f"{self.mean:.1f}" if self.spread is None else f"{self.mean:.1f} {SPREAD} {self.spread:.1f}"


def cells(games: Sequence[Played], spec: str) -> list[list[Cell]]:
    """For each row the cells of a benchmark; all rows have the same columns."""
    rows = list(dict.fromkeys(game.row for game in games))
    every = [numbers(game.scores[spec]) for game in games]
    columns = list(dict.fromkeys(column for found in every for column in found))
    return [
        [_cell(row, spec, column, [n for game, n in zip(games, every, strict=True) if game.row == row]) for column in columns]
        for row in rows
    ]  # fmt: skip


def write_standings(folder: Path, games: Sequence[Played], failed: Sequence[Failed], budget: Budget) -> str:
    """Writes league.md and league.csv; returns the Markdown."""
    every = {spec: cells(games, spec) for spec in budget.benchmarks} if games else {}
    text = _markdown(every, games, failed, budget)
    (folder / MARKDOWN).write_text(text, encoding="utf-8")
    with (folder / CSV).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("benchmark", "row", "column", "n", "mean", "spread", "values"))
        for cell in (cell for rows in every.values() for row in rows for cell in row):
            values = " ".join(f"{value:.4f}" for value in cell.values)
            numbers = ("" if number is None else f"{number:.4f}" for number in (cell.mean, cell.spread))
            writer.writerow((cell.benchmark, cell.row, cell.column, cell.n, *numbers, values))
    return text


def _cell(row: str, spec: str, column: str, seeds: Sequence[dict[str, Column]]) -> Cell:
    found = [one[column] for one in seeds if column in one]
    values = tuple(100 * one.value for one in found if one.value is not None)
    return Cell(row, spec, column, max((one.n for one in found), default=0), values)


def _markdown(
    every: dict[str, list[list[Cell]]], games: Sequence[Played], failed: Sequence[Failed], budget: Budget
) -> str:
    lines = [
        "# League",
        "",
        f"{budget.minutes:g} minutes of one core for the training steps of every row and seed (starting and scoring not "
        "counted), the same toy world for all. How many steps fit was found once for each row, so its seeds differ in nothing "
        "else; a row with two numbers of steps was trained in two stages. "
        f"Percent; mean {SPREAD} standard deviation over seeds. A column under the name of a kind is the gIoU, of "
        "videos the J&F, of its expressions.",
        "",
        "| row | steps | CPU seconds a step | seeds |",
        "|---|---:|---:|---|",
    ]
    for row in dict.fromkeys(game.row for game in games):
        own = [game for game in games if game.row == row]
        seeds = ", ".join(str(game.seed) for game in own)
        steps = " + ".join(map(str, own[0].steps))
        paces = ", ".join(f"{pace:.3f}" for pace in own[0].seconds_per_step)
        lines.append(f"| {row} | {steps} | {paces} | {seeds} |")
    for spec, rows in every.items():
        about = games[0].scores[spec]
        lines += ["", f"## {about.benchmark}", ""]
        lines.append("| | " + " | ".join(f"{cell.column} ({cell.n})" for cell in rows[0]) + " |")
        lines.append("|---|" + "---:|" * len(rows[0]))
        lines += [f"| {row[0].row} | " + " | ".join(map(str, row)) + " |" for row in rows]
        lines += ["", f"Protocol {about.protocol}. {about.convention}."]
    for one in failed:
        seed = "its trial" if one.seed is None else f"seed {one.seed}"
        lines += ["", f"**{one.row}, {seed}, failed:** {one.why}"]
    return "\n".join(lines) + "\n"
