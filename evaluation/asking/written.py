"""Masks of a benchmark of videos that somebody wrote, by SegLM or by another program, as results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from seglm.evaluation.asking.follow import asked_of, scored_frames
from seglm.evaluation.asking.predict import truth_of
from seglm.evaluation.asking.renamed import renamed
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.expressions import Asked, track
from seglm.evaluation.scores.files import MASKS, SAID, read_said
from seglm.evaluation.scores.results import Result, Said, line_of
from seglm.evaluation.scores.video_files import Predictions, count_frames, open_predictions
from seglm.evaluation.scores.video_predictions import expression_folder
from seglm.utils.answers import Answer, Spoken
from seglm.utils.types import Sample


@dataclass(frozen=True)
class Written:
    """The results of a place, and what was asked."""

    results: tuple[Result, ...]
    """of the expressions that have a prediction, in the order of the benchmark"""
    asked: tuple[Asked, ...]
    """everything"""
    predictions: Predictions
    is_foreign: bool
    """whether another program wrote some of it"""

    @property
    def missing(self) -> list[str]:
        """`VIDEO/EXPRESSION` of what has none."""
        found = {str(result.said.file) for result in self.results}
        return [str(one) for one in self.asked if str(one) not in found]


def read_written(place: Path, selection: Selection) -> Written:
    """Scores what lies in a place: our own folder with predictions.csv, or whatever `open_predictions` opens.

    Raises ValueError or FileNotFoundError that names the frame or the file.
    """
    own = place / MASKS if (place / SAID).is_file() else place
    predictions = renamed(open_predictions(own), selection)
    lines = {line.file: line for line in read_said(place / SAID)} if own != place else {}
    asked, results = [], []
    is_foreign = False
    for number in tqdm(range(len(selection)), desc=selection.name, unit="video", dynamic_ncols=True):
        sample = selection.sample(number)
        for position, target in enumerate(sample.targets):
            one = asked_of(sample, target)
            asked.append(one)
            if not predictions.has(one):
                continue
            frames = scored_frames(sample, target)
            names = [sample.frame_names[frame] for frame in frames]
            true = (truth_of(sample, position, frame)[0] for frame in frames)
            found = track(one, count_frames(one, names, predictions.masks(one, names), true))
            line = lines.get(str(one))
            if line is None:
                line, is_foreign = _foreign_line(number, position, sample, found.is_drawn), True
            results.append(Result(line, found))
    return Written(tuple(results), tuple(asked), predictions, is_foreign)


def _foreign_line(number: int, position: int, sample: Sample, is_drawn: bool) -> Said:
    """What is known of another program's answer: that there is one; no mask in any frame stands for a rejection."""
    target = sample.targets[position]
    answer = Answer(Spoken("", (), "ok", ("?",)))
    return replace(
        line_of(number, position, sample, target, answer, rejected=not is_drawn),
        file=expression_folder(sample, target),
    )
