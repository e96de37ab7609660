"""The scores of what was said, as a table and as a file, and those of two models side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seglm.evaluation.scores.results import notes
from seglm.utils.atomic import write_atomic
from seglm.utils.encoding import read_json

SCORES = "scores.json"
WORDS, BERT = "words", "bert"
COUNT = "n"
"""the column that is no score"""


@dataclass(frozen=True)
class Outcome:
    """Scores by kind."""

    benchmark: str
    """data set and split, e.g. `my_qa|val`"""
    scores: Mapping[str, Mapping[str, float]]
    """kind -> column -> number, `all` first; COUNT is how many were asked"""
    leak: str = ""
    """why they are scores on training data; empty where nothing says so"""
    weights: str = ""
    """whose answers they are, see `scores/origin.py`; empty where nothing says so"""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    """size and time of each file of these weights"""
    likeness: str = WORDS
    """by which phrases are held to be alike, WORDS or BERT"""

    def __str__(self) -> str:
        """A Markdown table, one row a kind."""
        columns = [column for column in self.scores["all"] if column != COUNT]
        rows = [
            f"| {kind} | {one[COUNT]} | {' | '.join(_spelt(one[column]) for column in columns)} |"
            for kind, one in self.scores.items()
        ]
        return "\n".join([*_head(self.benchmark, columns), *rows, *_notes("", self)])


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Writes SCORES."""
    write_atomic(folder / SCORES, json.dumps(asdict(outcome), indent=1) + "\n")


def read_outcome(folder: Path, benchmark: str) -> Outcome:
    """The scores in a folder, or of a benchmark in a folder of several (`--out`).

    Raises ValueError if there are none, or of something else.
    """
    places = [folder / SCORES, folder / folder_name(benchmark) / SCORES]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise ValueError(
            f"--against {folder}: there is no {places[0]} and no {places[1]}; python -m seglm.evaluation.told --version MODEL "
            f"--out {folder} writes it"
        )
    content = read_json(file)
    try:
        return Outcome(**content)
    except TypeError as error:
        raise ValueError(
            f"{file}: no scores of seglm.evaluation.told, which have {', '.join(Outcome.__dataclass_fields__)}"
        ) from error


def folder_name(benchmark: str) -> str:
    """What the folder of a benchmark's outcome is called, inside --out."""
    return benchmark.replace("|", "-")


def beside(now: Outcome, before: Outcome) -> str:
    """A Markdown table of both, and how far each number has moved, one row a kind.

    Raises ValueError if other questions were asked, or scored by another likeness.
    """
    if now.benchmark != before.benchmark:
        raise ValueError(f"--against holds scores of {before.benchmark}, not of {now.benchmark}")
    if now.likeness != before.likeness:
        raise ValueError(
            f"--against holds scores by --likeness {before.likeness}, these are by {now.likeness}; score both by one of them"
        )
    counts = [{kind: one[COUNT] for kind, one in outcome.scores.items()} for outcome in (now, before)]
    if counts[0] != counts[1]:
        raise ValueError(
            f"--against holds scores of other questions of {now.benchmark} ({counts[1]}, now {counts[0]}); ask both with the "
            "same data and --limit"
        )
    columns = [column for column, value in now.scores["all"].items() if isinstance(value, float)]
    rows = []
    for kind, one in now.scores.items():
        then = before.scores[kind]
        cells = [f"{then[name]:.4f} | {one[name]:.4f} | {one[name] - then[name]:+.4f}" for name in columns]
        rows.append(f"| {kind} | {one[COUNT]} | {' | '.join(cells)} |")
    names = [part for column in columns for part in (f"{column} before", "now", "change")]
    whose = [*_notes("before: ", before), *_notes("now: ", now)]
    return "\n".join([*_head(f"{now.benchmark}, before and now", names), *rows, *whose])


def _spelt(value: int | float) -> str:
    """A number of things as it is, a score with four decimals."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _head(title: str, columns: list[str]) -> list[str]:
    return [
        f"### {title}",
        "",
        f"| | {COUNT} | {' | '.join(columns)} |",
        "|---|---:|" + "---:|" * len(columns),
    ]


def _notes(which: str, outcome: Outcome) -> list[str]:
    """Lines below a table, about the outcome that it calls `which`."""
    found = notes(outcome.weights, outcome.fingerprint, outcome.leak)
    return [part for note in found for part in ("", f"{which}{note}")]
