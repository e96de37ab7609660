"""What an evaluation leaves behind: samples.csv, scores.json, scores.md, and a sheet of the worst and the best masks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seglm.evaluation.pictures.masks import IGNORED, PREDICTED, TRUE, Mask, Picture
from seglm.evaluation.pictures.sheet import Layer, Panel, Row, sheet
from seglm.evaluation.scores import expressions, iou
from seglm.evaluation.scores.columns import Score, columns
from seglm.evaluation.scores.files import write_results
from seglm.evaluation.scores.iou import Counts
from seglm.evaluation.scores.results import Result, Said, Scores
from seglm.utils.encoding import read_json

log = logging.getLogger(__name__)
SCORES, MARKDOWN, SAMPLES, SHEET = "scores.json", "scores.md", "samples.csv", "worst_and_best.png"
ENDS = 6  # rows of the sheet for the worst and for the best
LEGEND = {"predicted": PREDICTED, "true": TRUE, "ignored": IGNORED}
COLUMNS = ("picture", "truth", "prediction")
FRAMES = ("first frame", *("",) * 4, "last frame")
"""columns of a video's strip: scored frames, evenly over time"""
Shown = Sequence[tuple[Picture, Mask, Mask, Mask | None]]
"""(picture, true mask, predicted mask, ignored pixels) of one frame, or of some frames of a video"""


def write_report(
    folder: Path,
    scores: Scores,
    results: Sequence[Result],
    *,
    shown: Callable[[Said], Shown],
) -> None:
    """Writes the four files into `folder`.

    shown: what a line is about; FileNotFoundError where its masks lie on another machine, then there is no sheet.
    """
    write_results(folder / SAMPLES, results)
    (folder / SCORES).write_text(json.dumps(asdict(scores), indent=1) + "\n", encoding="utf-8")
    (folder / MARKDOWN).write_text(str(scores) + "\n", encoding="utf-8")
    try:
        rows = [_row(section, result, shown(result.said)) for section, result in ends(results)]
    except FileNotFoundError as error:
        log.warning("no %s: %s; do the processes share a disk?", SHEET, error)
        return
    is_of_videos = isinstance(scores.all, expressions.Score)
    numbers = [
        f"{one.name} {one.value:.4f}"
        for one in columns(scores.all, short=True)[: 3 if is_of_videos else 2]
        if one.value is not None
    ]
    title = f"{scores.benchmark}: {', '.join(numbers)}, {scores.all.n} expressions"
    sheet(folder / SHEET, title=title, legend=LEGEND, columns=FRAMES if is_of_videos else COLUMNS, rows=rows)


def answer_panel(picture: Picture, truth: Mask, predicted: Mask) -> Panel:
    """A frame with the predicted mask lit and the true one outlined."""
    return Panel(picture, (Layer(predicted, PREDICTED), Layer(truth, TRUE, "outlined")))


def strip_panels(frames: Shown) -> tuple[Panel, ...]:
    """One such panel for each of FRAMES; of a shorter video the last one again."""
    strip = [answer_panel(picture, truth, predicted) for picture, truth, predicted, _ in frames]
    return (*strip, *[strip[-1]] * (len(FRAMES) - len(strip)))


def ends(results: Sequence[Result], count: int = ENDS) -> list[tuple[str, Result]]:
    """(heading, result) of the worst and the best expressions, at most `count` each, none twice, of each picture one if possible.

    Equally bad ones are taken from the largest union down: a big mask in the wrong place teaches more than a missed dot.
    """
    ranked = sorted(results, key=lambda one: (one.worth, -_extent(one), one.said.sample, one.said.target))
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
    kind: type[Score] = iou.Score if "giou" in values else expressions.Score
    tuples = {name: tuple(values[name]) for name in ("precision", "thresholds", "missing") if name in values}
    return kind(**{**values, **tuples})


def _extent(result: Result) -> int:
    """Pixels of an answer and its truth; of a video they are not kept."""
    return result.found.union if isinstance(result.found, Counts) else 0


def _row(section: str, result: Result, shown: Shown) -> Row:
    said = result.said
    words = f"says: {said.answer}" if said.answer else "the answer was given"
    lines = [_measured(result) + (f"   {said.kind}" if said.kind else ""), words]
    if not said.slots:
        lines.append("no [SEG] was produced")
    elif said.status == "rejected":
        lines.append("rejected: the model says it is not there")
    if said.slots > 1:
        lines.append(f"{said.slots} masks; the first is scored")
    panels: tuple[Panel, ...]
    if isinstance(result.found, Counts):
        [(picture, truth, predicted, ignore)] = shown
        grey = () if ignore is None or not ignore.any() else (Layer(ignore, IGNORED, "veiled"),)
        panels = (
            Panel(picture),
            Panel(picture, (*grey, Layer(truth, TRUE))),
            answer_panel(picture, truth, predicted),
        )
    else:
        panels = strip_panels(shown)
    return Row(panels, title=said.text, lines=(*lines, f"{said.key} {said.name}"), section=section)


def _measured(result: Result) -> str:
    found = result.found
    return f"IoU {found.iou:.3f}" if isinstance(found, Counts) else f"J {found.j:.3f}, F {found.f:.3f}"
