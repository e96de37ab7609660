"""What an evaluation leaves behind: samples.csv, scores.json, scores.md, and a sheet of the worst and the best masks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seglm.evaluation.pictures.masks import IGNORED, PREDICTED, TRUE, Mask, Picture
from seglm.evaluation.pictures.sheet import Layer, Row, sheet
from seglm.evaluation.scores.files import write_results
from seglm.evaluation.scores.iou import Score
from seglm.evaluation.scores.results import Result, Said, Scores
from seglm.utils.encoding import read_json

log = logging.getLogger(__name__)
SCORES, MARKDOWN, SAMPLES, SHEET = "scores.json", "scores.md", "samples.csv", "worst_and_best.png"
ENDS = 6  # rows of the sheet for the worst and for the best
LEGEND = {"predicted": PREDICTED, "true": TRUE, "ignored": IGNORED}
COLUMNS = ("picture", "truth", "prediction")


def write_report(
    folder: Path,
    scores: Scores,
    results: Sequence[Result],
    *,
    mask: Callable[[Said], Mask],
    shown: Callable[[Said], tuple[Picture, Mask, Mask | None]],
) -> None:
    """Writes the four files into `folder`.

    mask: the predicted mask of a line; FileNotFoundError where it lies on another machine, then there is no sheet.
    shown: (picture, true mask, ignored pixels) of the frame that a line is about.
    """
    write_results(folder / SAMPLES, results)
    (folder / SCORES).write_text(json.dumps(asdict(scores), indent=1) + "\n", encoding="utf-8")
    (folder / MARKDOWN).write_text(str(scores) + "\n", encoding="utf-8")
    try:
        masks = [mask(result.said) for _, result in ends(results)]
    except FileNotFoundError as error:
        log.warning("no %s: %s; do the processes share a disk?", SHEET, error)
        return
    rows = [
        _row(section, result, predicted, *shown(result.said))
        for (section, result), predicted in zip(ends(results), masks, strict=True)
    ]
    title = f"{scores.benchmark}: gIoU {scores.all.giou:.4f}, cIoU {scores.all.ciou:.4f}, {scores.all.n} expressions"
    sheet(folder / SHEET, title=title, legend=LEGEND, columns=COLUMNS, rows=rows)


def ends(results: Sequence[Result], count: int = ENDS) -> list[tuple[str, Result]]:
    """(heading, result) of the worst and the best expressions, at most `count` each, none twice, of each picture one if possible.

    Equally bad ones are taken from the largest union down: a big mask in the wrong place teaches more than a missed dot.
    """
    ranked = sorted(
        results, key=lambda one: (one.counts.iou, -one.counts.union, one.said.sample, one.said.target)
    )
    low = min(count, (len(ranked) + 1) // 2)
    worst = _one_a_picture(ranked, low)
    rest = [one for one in reversed(ranked) if one not in worst]
    return [("Worst", one) for one in worst] + [("Best", one) for one in _one_a_picture(rest, count)]


def _one_a_picture(ranked: Sequence[Result], count: int) -> list[Result]:
    """The first `count`, but further ones of a picture only when every picture had its turn."""
    first = {one.said.sample: one for one in reversed(ranked)}
    chosen = [one for one in ranked if first[one.said.sample] is one][:count]
    return (chosen + [one for one in ranked if one not in chosen])[:count]


def read_scores(folder: Path) -> Scores:
    """What `write_report` wrote. Raises FileNotFoundError that says what to run."""
    path = folder / SCORES if folder.is_dir() else folder
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no scores; `python -m seglm.evaluation.run --out {folder}` writes them"
        )
    content = read_json(path)
    try:
        return scores_of(content)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: these are no scores that SegLM wrote ({error}); score again") from error


def scores_of(content: Mapping[str, Any]) -> Scores:
    """The scores that `asdict` made plain."""
    kinds = {kind: _score(values) for kind, values in content["kinds"].items()}
    return Scores(**{**content, "all": _score(content["all"]), "kinds": kinds})


def _score(values: Mapping[str, Any]) -> Score:
    tuples = {name: tuple(values[name]) for name in ("precision", "thresholds") if name in values}
    return Score(**{**values, **tuples})


def _row(
    section: str, result: Result, predicted: Mask, picture: Picture, truth: Mask, ignore: Mask | None
) -> Row:
    said, counts = result.said, result.counts
    grey = () if ignore is None or not ignore.any() else (Layer(ignore, IGNORED, "veiled"),)
    words = f"says: {said.answer}" if said.answer else "the answer was given"
    lines = [f"IoU {counts.iou:.3f}" + (f"   {said.kind}" if said.kind else ""), words]
    if not said.slots:
        lines.append("no [SEG] was produced")
    elif said.status == "rejected":
        lines.append("rejected: the model says it is not there")
    if said.slots > 1:
        lines.append(f"{said.slots} masks; the first is scored")
    panels = (
        (),
        (*grey, Layer(truth, TRUE)),
        (Layer(predicted, PREDICTED), Layer(truth, TRUE, "outlined")),
    )
    return Row(picture, panels, title=said.text, lines=(*lines, f"{said.key} {said.name}"), section=section)
