"""The same questions answered by every row, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.predict import scored_frame
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.league.compete import Played
from seglm.evaluation.league.entrants import Budget
from seglm.evaluation.league.work import scores_folder
from seglm.evaluation.pictures.masks import PREDICTED, TRUE
from seglm.evaluation.pictures.sheet import Layer, Row, sheet
from seglm.evaluation.scores.files import MASKS, SAID, read_mask, read_said
from seglm.evaluation.scores.iou import count
from seglm.evaluation.scores.results import Said

PICTURE = "league.png"
QUESTIONS = 5  # of each benchmark, one of each kind first


@dataclass(frozen=True)
class _Answers:
    """What one row said to a benchmark."""

    row: str
    folder: Path
    said: Mapping[tuple[int, int], Said]
    """(sample, target) -> line"""


def save_picture(out: Path, games: Sequence[Played], budget: Budget) -> Path:
    """Writes league.png into `out`, of each row's first seed; returns its path."""
    first = {game.row: game for game in reversed(games)}
    own = [first[row] for row in dict.fromkeys(game.row for game in games)]
    rows = [line for spec in budget.benchmarks for line in _lines(out, spec, own, budget)]
    sheet(
        out / PICTURE,
        title=f"The same questions, {budget.minutes:g} minutes of one core for each row",
        legend={"predicted": PREDICTED, "true": TRUE},
        columns=("picture", "truth", *(game.row for game in own)),
        rows=rows,
    )
    return out / PICTURE


def pick_questions(said: Sequence[Said], count: int = QUESTIONS) -> list[Said]:
    """Questions to be shown: of each kind one, from its middle; then further ones, of each picture one if possible."""
    kinds = list(dict.fromkeys(one.kind for one in said))
    found: list[Said] = []
    while len(found) < min(count, len(said)):
        for kind in kinds:
            rest = [one for one in said if one.kind == kind and one not in found]
            fresh = [one for one in rest if one.sample not in {shown.sample for shown in found}] or rest
            if fresh and len(found) < count:
                found.append(fresh[len(fresh) // 2])
    return sorted(found, key=lambda one: (one.sample, one.target))


def _lines(out: Path, spec: str, games: Sequence[Played], budget: Budget) -> list[Row]:
    selection = benchmark(spec).open(budget.dataset_dir)
    answers = []
    for game in games:
        folder = scores_folder(out / game.folder, spec)
        lines = read_said(folder / SAID)
        answers.append(_Answers(game.row, folder, {(one.sample, one.target): one for one in lines}))
    return [
        _line(question, selection, answers, spec)
        for question in pick_questions(list(answers[0].said.values()))
    ]


def _line(question: Said, selection: Selection, answers: Sequence[_Answers], spec: str) -> Row:
    picture, truth, ignore = scored_frame(selection.sample(question.sample), question.target)
    panels: list[tuple[Layer, ...]] = [(), (Layer(truth, TRUE),)]
    words = [question.kind] if question.kind else []
    for one in answers:
        line = one.said[question.sample, question.target]
        mask = read_mask(one.folder / MASKS / line.file, size=truth.shape, key=question.key)
        panels.append((Layer(mask, PREDICTED), Layer(truth, TRUE, "outlined")))
        iou = count(mask, truth, ignore=ignore).iou
        words.append(f"{one.row} ({iou:.2f}): {' '.join(line.answer.split()) or '(nothing)'}")
    return Row(picture, tuple(panels), title=question.text, lines=tuple(words), section=spec)
