"""Masks of a benchmark of videos that somebody wrote, by SegLM or by another program, as results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seglm.evaluation.asking.follow import asked_of, scored_frames
from seglm.evaluation.asking.predict import truth_of
from seglm.evaluation.asking.renamed import renamed
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.expressions import Asked, track
from seglm.evaluation.scores.files import MASKS, SAID, each_once, read_said
from seglm.evaluation.scores.results import Result, Said, line_of, told_missing
from seglm.evaluation.scores.video_files import Mask, Predictions, count_frames, open_predictions
from seglm.evaluation.scores.video_predictions import expression_folder
from seglm.utils.answers import Answer, Spoken
from seglm.utils.pool import in_processes
from seglm.utils.told import some_of
from seglm.utils.types import Sample, Target


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


def read_written(
    place: Path, selection: Selection, *, missing_is_empty: bool = False, processes: int | None = 1
) -> Written:
    """Scores what lies in a place: our own folder with predictions.csv, or whatever `open_predictions` opens.

    missing_is_empty: an expression without a prediction has no result, else it is an error. processes: see `in_processes`.
    Raises ValueError as `see_missing`, ValueError or FileNotFoundError that names the frame or the file.
    """
    predictions = opened(place, selection)
    see_missing(selection, predictions, missing_is_empty=missing_is_empty)
    is_own = (place / SAID).is_file()
    said = read_said(place / SAID) if is_own else []
    lines = each_once(
        ((line.file, line) for line in said), f"{place / SAID}: two lines are about", "keep one of them"
    )
    videos = in_processes(_Scorer(selection, predictions, lines), range(len(selection)), processes=processes)
    bar = tqdm(videos, total=len(selection), desc=selection.name, unit="video", dynamic_ncols=True)
    each = [one for video in bar for one in video]
    return Written(
        results=tuple(one.result for one in each if one.result is not None),
        asked=tuple(one.asked for one in each),
        predictions=predictions,
        is_foreign=any(one.is_foreign for one in each),
    )


def opened(place: Path, selection: Selection) -> Predictions:
    """The masks in our own folder with predictions.csv, or in whatever `open_predictions` opens, by the benchmark's names."""
    own = place / MASKS if (place / SAID).is_file() else place
    return renamed(open_predictions(own), selection)


def see_missing(selection: Selection, predictions: Predictions, *, missing_is_empty: bool) -> str:
    """The line about expressions without a prediction, see `told_missing`.

    Raises ValueError that counts and names them unless `missing_is_empty`, and in any case if no expression has one.
    """
    asked = [
        asked_of(sample, target)
        for sample in map(selection.sample, range(len(selection)))
        for target in sample.targets
    ]
    missing = [str(one) for one in asked if not predictions.has(one)]
    if missing and (len(missing) == len(asked) or not missing_is_empty):
        raise ValueError(
            f"no prediction for {len(missing)} of {len(asked)} expressions of {selection.name}: {some_of(missing)}; "
            + what_to_do(len(missing), len(asked))
        )
    return told_missing(missing, len(asked), "count as empty masks")


def what_to_do(missing: int, asked: int) -> str:
    """The end of a message about expressions without a prediction: where all are without, nothing is to be scored."""
    if missing == asked:
        return "are these predictions of another benchmark, or called otherwise?"
    return "run inference on the same benchmark, or pass --missing empty to count them as empty masks"


def masks_of(sample: Sample, target: Target, predictions: Predictions) -> Iterator[Mask]:
    """The mask of each frame, bool [H, W] at the video's size; empty ones where there is no prediction.

    Raises ValueError for a mask of another size, and what `Predictions.masks` raises.
    """
    names, asked = sample.frame_names, asked_of(sample, target)
    found = predictions.masks(asked, names) if predictions.has(asked) else iter([None] * len(names))
    for name, given in zip(names, found, strict=True):
        mask = np.zeros(sample.size, dtype=np.bool_) if given is None else given
        if mask.shape != sample.size:
            raise ValueError(
                f"{asked}: the mask of frame {name} is {mask.shape[0]} x {mask.shape[1]}, the video {sample.size[0]} x "
                f"{sample.size[1]} (H x W); servers score at the video's own size"
            )
        yield mask


@dataclass(frozen=True)
class _Scored:
    """One expression."""

    asked: Asked
    result: Result | None
    """None without a prediction"""
    is_foreign: bool = False


@dataclass(frozen=True)
class _Scorer:
    """The expressions of a video, by its number."""

    selection: Selection
    predictions: Predictions
    lines: Mapping[str, Said]
    """of predictions.csv, by their folder of masks"""

    def __call__(self, number: int) -> Sequence[_Scored]:
        sample = self.selection.sample(number)
        return [self._score(number, position, sample) for position in range(len(sample.targets))]

    def _score(self, number: int, position: int, sample: Sample) -> _Scored:
        target = sample.targets[position]
        one = asked_of(sample, target)
        if not self.predictions.has(one):
            return _Scored(one, None)
        frames = scored_frames(sample, target)
        names = [sample.frame_names[frame] for frame in frames]
        true = (truth_of(sample, position, frame)[0] for frame in frames)
        shown = self.predictions.masks(one, names, sample.frame_names)
        found = track(one, count_frames(one, names, shown, true))
        line = self.lines.get(str(one))
        if line is None:
            return _Scored(
                one, Result(_foreign_line(number, position, sample, found.is_drawn), found), is_foreign=True
            )
        # It may have been asked with more, by other numbers.
        return _Scored(one, Result(replace(line, sample=number, target=position), found))


def _foreign_line(number: int, position: int, sample: Sample, is_drawn: bool) -> Said:
    """What is known of another program's answer: that there is one; no mask in any frame stands for a rejection."""
    target = sample.targets[position]
    answer = Answer(Spoken("", (), "ok", ("?",)))
    return replace(
        line_of(number, position, sample, target, answer, rejected=not is_drawn),
        file=expression_folder(sample, target),
    )
