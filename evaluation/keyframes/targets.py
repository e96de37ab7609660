"""How well each frame of a benchmark was drawn by a model whose masks lie on disk: what a selector learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seglm.evaluation.asking.follow import asked_of, scored_frames
from seglm.evaluation.asking.predict import truth_of
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.written import opened, see_missing
from seglm.evaluation.scores.regions import count_frame
from seglm.evaluation.scores.video_files import Predictions
from seglm.model.frame_ious import Row
from seglm.utils.pool import in_processes
from seglm.utils.types import Sample


def rows_of(
    place: Path, selection: Selection, *, processes: int | None = 1
) -> Iterator[tuple[str, str, Row]]:
    """(video, expression, IoU of every frame) for `frame_ious.write`; IoU is J: 1 where both masks are empty.

    place: see `written.opened`. processes: see `in_processes`.
    Raises ValueError that counts and names the expressions without a prediction, or names a frame.
    """
    predictions = opened(place, selection)
    see_missing(selection, predictions, missing_is_empty=False)
    videos = in_processes(_Counter(selection, predictions), range(len(selection)), processes=processes)
    for video in tqdm(videos, total=len(selection), desc=selection.name, unit="video", dynamic_ncols=True):
        yield from video


@dataclass(frozen=True)
class _Counter:
    """The expressions of a video, by its number."""

    selection: Selection
    predictions: Predictions

    def __call__(self, number: int) -> list[tuple[str, str, Row]]:
        sample = self.selection.sample(number)
        return [(sample.key, target.key, self._row(sample, n)) for n, target in enumerate(sample.targets)]

    def _row(self, sample: Sample, position: int) -> Row:
        target = sample.targets[position]
        asked, frames = asked_of(sample, target), scored_frames(sample, target)
        row: list[float | None] = [None] * sample.num_frames
        names = [sample.frame_names[frame] for frame in frames]
        shown = self.predictions.masks(asked, names, sample.frame_names)
        for frame, mask in zip(frames, shown, strict=True):
            true = truth_of(sample, position, frame)[0]
            row[frame] = count_frame(np.zeros_like(true) if mask is None else mask, true).j
        return row
