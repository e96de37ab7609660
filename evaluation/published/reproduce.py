"""`--reproduce ROW`: a published number measured again, the way it was made, and whether it came out."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.published.records import CARRIED, Row
from seglm.evaluation.scores.results import Convention, Scores
from seglm.model.recipes import recipes

OUTCOME = "reproduce.json"
NAMES = {"giou": "gIoU", "ciou": "cIoU", "n_acc": "N-acc", "t_acc": "T-acc", "jf": "J&F", "j": "J", "f": "F"}


@dataclass(frozen=True)
class Measured:
    """One metric of a row; percent, and points of a percent."""

    metric: str
    published: float
    measured: float | None
    """None if the benchmark has no expression that it is about"""
    tolerance: float
    is_inside: bool


@dataclass(frozen=True)
class Outcome:
    row: Row
    version: str
    """the weights that were measured"""
    metrics: tuple[Measured, ...]

    @property
    def is_inside(self) -> bool:
        """Whether every metric is."""
        return all(one.is_inside for one in self.metrics)

    def __str__(self) -> str:
        return _text(self)


def as_published(given: argparse.Namespace, row: Row) -> argparse.Namespace:
    """The command line with everything that the row settles: split, protocol, convention, precision, recipe, and who draws.

    Raises ValueError for a recipe or a benchmark that this version does not have, for one that only a server scores, and for a
    flag that says otherwise, or is missing where another program carried the masks.
    """
    if row.recipe not in recipes():
        raise ValueError(f"{row.name}: its recipe {row.recipe} is not in this version (train_ds.py --list)")
    benchmark(row.benchmark).check_truth()
    settled = {
        "val_dataset": row.benchmark,
        "protocol": row.source.protocol,
        "convention": convention_of(row),
        "precision": row.source.precision,
        "recipe": row.recipe,
        "inference_only": False,
    }
    for name, value in settled.items():
        if getattr(given, name) not in (None, False, value):
            raise ValueError(
                f"--{name} {getattr(given, name)} contradicts --reproduce {row.name}, which sets {value}; leave it out"
            )
    for name in ("keyframes",) if row.is_carried else ("propagate", "anchors", "keyframes"):
        if (value := getattr(given, name)) is not None:
            raise ValueError(
                f"--{name} {value} contradicts --reproduce {row.name}, which the model drew without it; leave it out"
            )
    if row.is_carried and given.propagate is None:
        raise ValueError(
            f"{row.name}: its masks were carried through the videos by XMem++; give --propagate with such a program, or take "
            f"{row.name.replace(CARRIED, '', 1)}, which the model drew alone"
        )
    return argparse.Namespace(**{**vars(given), **settled})


def convention_of(row: Row) -> Convention:
    """How its values were averaged. Raises ValueError if the benchmark has no such way."""
    return benchmark(row.benchmark).average(row.source.conventions.get(row.benchmark, row.source.convention))


def check_count(row: Row, selection: Selection) -> None:
    """Raises ValueError if the data are not what the row was measured on, by their number."""
    pictures = len(selection)
    if row.pictures not in (None, pictures):
        raise ValueError(
            f"{row.name}: {row.benchmark} has {pictures} pictures here and {row.pictures} where the row was measured; "
            "check the data (python -m seglm.dataset.check)"
        )
    if row.expressions is None:
        return
    expressions = sum(len(selection.sample(number).targets) for number in range(pictures))
    if expressions != row.expressions:
        raise ValueError(
            f"{row.name}: {row.benchmark} has {expressions} expressions here and {row.expressions} where the row was "
            "measured; check the data (python -m seglm.dataset.check)"
        )


def compare(row: Row, scores: Scores, *, version: str) -> Outcome:
    """The row beside what was measured."""
    metrics = []
    for metric, published in row.values.items():
        share: float | None = getattr(scores.all, metric)
        measured = None if share is None else 100 * share
        inside = measured is not None and abs(measured - published) <= row.source.tolerance
        metrics.append(Measured(metric, published, measured, row.source.tolerance, inside))
    return Outcome(row, version, tuple(metrics))


def write_outcome(folder: Path, outcome: Outcome) -> Path:
    """reproduce.json beside the scores."""
    content = {**asdict(outcome), "is_inside": outcome.is_inside}
    (folder / OUTCOME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return folder / OUTCOME


def _text(outcome: Outcome) -> str:
    row, source = outcome.row, outcome.row.source
    lines = [
        f"### {row.name}",
        "",
        "| | published | measured | difference | tolerance | |",
        "|---|---:|---:|---:|---:|---|",
        *(_line(one) for one in outcome.metrics),
        "",
        f"Percent. Published: {source.cited}, {row.weights or 'weights not released'}, protocol {source.protocol}, "
        f"convention {convention_of(row)}, {source.precision}. Measured: {outcome.version}.",
        "All values are inside the tolerance." if outcome.is_inside else "NOT REPRODUCED.",
    ]
    return "\n".join(lines)


def _line(one: Measured) -> str:
    name, verdict = NAMES.get(one.metric, one.metric), "inside" if one.is_inside else "OUTSIDE"
    if one.measured is None:
        return f"| {name} | {one.published:.2f} | - | - | {one.tolerance:g} | {verdict} |"
    off = one.measured - one.published
    return (
        f"| {name} | {one.published:.2f} | {one.measured:.2f} | {off:+.2f} | {one.tolerance:g} | {verdict} |"
    )
