"""The same questions answered by every row: pictures side by side, videos as strips below one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.shown import shown
from seglm.evaluation.league.compete import Played
from seglm.evaluation.league.entrants import Budget
from seglm.evaluation.league.work import scores_folder
from seglm.evaluation.pictures.masks import PREDICTED, TRUE
from seglm.evaluation.pictures.sheet import Layer, Panel, Row, sheet
from seglm.evaluation.scores.files import MASKS, SAID, read_said
from seglm.evaluation.scores.iou import count
from seglm.evaluation.scores.regions import count_frame
from seglm.evaluation.scores.report import FRAMES, answer_panel, strip_panels
from seglm.evaluation.scores.results import Said

PICTURE, VIDEOS = "league.png", "league_videos.png"
QUESTIONS = 5  # of each benchmark, one of each kind first


@dataclass(frozen=True)
class _Answers:
    """What one row said to a benchmark."""

    row: str
    folder: Path
    said: Mapping[tuple[int, int], Said]
    """(sample, target) -> line"""


def save_pictures(out: Path, games: Sequence[Played], budget: Budget) -> list[Path]:
    """Writes league.png and, where there are benchmarks of videos, league_videos.png into `out`, of each row's first seed."""
    first = {game.row: game for game in reversed(games)}
    own = [first[row] for row in dict.fromkeys(game.row for game in games)]
    title = f"The same questions, {budget.minutes:g} minutes of one core for each row"
    pages = (
        (PICTURE, False, ("picture", "truth", *(game.row for game in own))),
        (VIDEOS, True, FRAMES),
    )
    written = []
    for name, is_of_videos, columns in pages:
        specs = [spec for spec in budget.benchmarks if benchmark(spec).is_of_videos == is_of_videos]
        if specs:
            rows = [line for spec in specs for line in _lines(out, spec, own, budget)]
            legend = {"predicted": PREDICTED, "true": TRUE}
            sheet(out / name, title=title, legend=legend, columns=columns, rows=rows)
            written.append(out / name)
    return written


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
    questions = pick_questions(list(answers[0].said.values()))
    if selection.is_of_videos:
        return [row for question in questions for row in _strips(question, selection, answers)]
    return [_line(question, selection, answers, spec) for question in questions]


def _line(question: Said, selection: Selection, answers: Sequence[_Answers], spec: str) -> Row:
    """A picture once a row of the league, side by side."""
    panels: list[Panel] = []
    words = [question.kind] if question.kind else []
    for one in answers:
        line = one.said[question.sample, question.target]
        [(picture, truth, mask, ignore)] = shown(selection, one.folder / MASKS, line)
        panels = panels or [Panel(picture), Panel(picture, (Layer(truth, TRUE),))]
        panels.append(answer_panel(picture, truth, mask))
        iou = count(mask, truth, ignore=ignore).iou
        words.append(f"{one.row} ({iou:.2f}): {' '.join(line.answer.split()) or '(nothing)'}")
    return Row(tuple(panels), title=question.text, lines=tuple(words), section=spec)


def _strips(question: Said, selection: Selection, answers: Sequence[_Answers]) -> list[Row]:
    """A strip of a video for each row of the league, below one another."""
    rows = []
    for one in answers:
        line = one.said[question.sample, question.target]
        frames = shown(selection, one.folder / MASKS, line)
        counts = [count_frame(mask, truth) for _, truth, mask, _ in frames]
        worth = f"J {fmean(one.j for one in counts):.2f} of these frames"
        words = (worth, " ".join(line.answer.split()) or "(nothing)")
        rows.append(
            Row(
                strip_panels(frames),
                title=one.row,
                lines=words,
                section=f"{question.text}  ({question.kind})",
            )
        )
    return rows
