"""ReVOS with all its numbers: J, F, accuracy and robustness, for which all objects of a video have to be known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seglm.dataset.fields import take
from seglm.dataset.masks import decode
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_records import ReadVideo
from seglm.evaluation.asking.follow import asked_of
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.written import masks_of, see_missing
from seglm.evaluation.scores import revos
from seglm.evaluation.scores.expressions import Asked
from seglm.evaluation.scores.results import told_missing
from seglm.evaluation.scores.video_files import Predictions
from seglm.evaluation.scores.video_predictions import video_name
from seglm.evaluation.submit.table import NOTHING, percent, table
from seglm.utils.pool import in_processes
from seglm.utils.types import Sample, Target

FOREGROUND = "mask_dict_foreground.json"
Cover = Callable[[int], NDArray[np.uint8]]
"""frame -> uint8 [H, W], how many of an expression's objects lie on a pixel"""


def score(
    selection: Selection,
    predictions: Predictions,
    *,
    missing_is_empty: bool = False,
    processes: int | None = 1,
) -> str:
    """The table of referring, reasoning and both. An expression without a prediction scores 0, in the original, too.

    processes: see `in_processes`.
    Raises ValueError that counts and names those, unless `missing_is_empty`; FileNotFoundError for a missing frame.
    """
    see_missing(selection, predictions, missing_is_empty=missing_is_empty)
    source, count = selection.source, len(selection)
    assert isinstance(source, Stills)
    file = source.root / FOREGROUND
    foreground = read_json(file, selection.name)
    names = [video_name(selection.sample(number)) for number in range(count)]
    # The run lengths of a video go with its number: the file of all is large, and read once.
    known = foreground if isinstance(foreground, dict) else {}
    items = [(number, {name: known[name]} if name in known else {}) for number, name in enumerate(names)]
    videos = in_processes(_Scorer(selection, predictions, file), items, processes=processes)
    bar = tqdm(videos, total=count, desc=selection.name, unit="video", dynamic_ncols=True)
    each = [one for video in bar for one in video]
    tracks = [found for _, found in each if found is not None]
    asked = [one for one, _ in each]
    found = revos.score(tracks, asked)
    missing = told_missing(found.missing, len(asked), "score 0")
    return _table(selection.name, found) + (f"\n\n{missing}." if missing else "")


@dataclass(frozen=True)
class _Scorer:
    """The expressions of a video, by its number and what the file of the foreground says of it."""

    selection: Selection
    predictions: Predictions
    file: Path

    def __call__(self, item: tuple[int, Mapping[str, Any]]) -> list[tuple[Asked, revos.RevosTrack | None]]:
        number, foreground = item
        sample, source = self.selection.sample(number), self.selection.source
        assert isinstance(source, Stills)
        areas = _areas(foreground, sample, self.file)
        return [
            (asked_of(sample, target), self._track(sample, target, cover, areas))
            for target, cover in zip(sample.targets, _covers(source, number, sample), strict=True)
        ]

    def _track(
        self, sample: Sample, target: Target, cover: Cover, areas: Sequence[int]
    ) -> revos.RevosTrack | None:
        asked = asked_of(sample, target)
        if not self.predictions.has(asked):
            return None
        masks = enumerate(masks_of(sample, target, self.predictions))
        counted = (revos.count(mask, cover(frame), foreground=areas[frame]) for frame, mask in masks)
        return revos.track(asked, counted)


def _table(name: str, found: revos.Score) -> str:
    columns = ["J&F", "J", "F", "A", "R", "A legacy", "R legacy", "A sa2va", "R sa2va"]
    rows = {
        kind: [NOTHING if isnan(value) else f"{value:.2f}" for value in (one.jf, *one)]
        for kind, one in (
            ("referring", found.referring),
            ("reasoning", found.reasoning),
            ("overall", found.overall),
        )
    }
    rates = f"N-acc {percent(found.n_acc)} of {found.num_empty}, T-acc {percent(found.t_acc)} of {found.n} expressions"
    return f"{table(name, columns, rows, revos.CONVENTION)}\n\n{rates}"


def _areas(foreground: Mapping[str, Any], sample: Sample, file: Path) -> Sequence[int]:
    """For each frame of a video the pixels of all its annotated objects. Raises ValueError that names file and video."""
    video = video_name(sample)
    try:
        masks = take(take(foreground, video, dict), "masks_rle", list)
        if len(masks) != sample.num_frames:
            raise ValueError(f"{len(masks)} masks, the video has {sample.num_frames} frames")
        return [_area(mask, sample.size) for mask in masks]
    except ValueError as error:
        raise ValueError(f"{file}: {video}: {error}") from error


def _area(masks: Any, size: tuple[int, int]) -> int:
    """Pixels of a frame's foreground: run lengths, nothing, or a list of them, whose areas VISA adds where they overlap."""
    parts = masks if isinstance(masks, list) else [masks]
    return sum(int(np.count_nonzero(decode(part, size))) for part in parts if part is not None)


def _covers(source: Stills, number: int, sample: Sample) -> Iterator[Cover]:
    """For each expression of a video what lies on a pixel: the union that a sample has does not say it."""
    assert isinstance(source.read, ReadVideo)
    record = source.index.record(number)
    opened = source.read.masks.open(source.still(record), sample.frame_names, sample.size)

    def cover_of(things: Sequence[object]) -> Cover:
        nothing = np.zeros(sample.size, dtype=np.uint8)
        return lambda frame: sum((opened.mask([one], frame).astype(np.uint8) for one in things), nothing)

    return (cover_of(one["things"]) for one in record["expressions"])
