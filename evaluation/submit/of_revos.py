"""ReVOS with all its numbers: J, F, accuracy and robustness, for which all objects of a video have to be known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from seglm.dataset.fields import take
from seglm.dataset.masks import decode
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.stills import Still, Stills
from seglm.dataset.readers.video_records import ReadVideo
from seglm.evaluation.asking.follow import asked_of
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores import revos
from seglm.evaluation.scores.video_files import Predictions
from seglm.evaluation.scores.video_predictions import video_name
from seglm.evaluation.submit.make import check_all_there, masks_of
from seglm.evaluation.submit.table import percent, table
from seglm.utils.types import Sample

FOREGROUND = "mask_dict_foreground.json"
Cover = Callable[[int], NDArray[np.uint8]]
"""frame -> uint8 [H, W], how many of an expression's objects lie on a pixel"""


def score(selection: Selection, predictions: Predictions, *, missing_is_empty: bool = False) -> str:
    """The table of referring, reasoning and both. An expression without a prediction scores 0, in the original, too.

    Raises ValueError that counts and names those, unless `missing_is_empty`; FileNotFoundError for a missing frame.
    """
    if not missing_is_empty:
        check_all_there(selection, predictions)
    source = selection.source
    assert isinstance(source, Stills)
    foreground = _foreground(source.root / FOREGROUND, selection.name)
    asked, tracks = [], []
    for number in tqdm(range(len(selection)), desc=selection.name, unit="video", dynamic_ncols=True):
        sample = selection.sample(number)
        areas, covers = foreground(sample), _covers(source, number, sample)
        for target, cover in zip(sample.targets, covers, strict=True):
            asked.append(asked_of(sample, target))
            if predictions.has(asked[-1]):
                masks = enumerate(masks_of(sample, target, predictions))
                counted = (revos.count(mask, cover(frame), foreground=areas[frame]) for frame, mask in masks)
                tracks.append(revos.track(asked[-1], counted))
    return _table(selection.name, revos.score(tracks, asked))


def _table(name: str, found: revos.Score) -> str:
    columns = ["J&F", "J", "F", "A", "R", "A legacy", "R legacy", "A sa2va", "R sa2va"]
    rows = {
        kind: [f"{value:.2f}" for value in (one.jf, *one)]
        for kind, one in (
            ("referring", found.referring),
            ("reasoning", found.reasoning),
            ("overall", found.overall),
        )
    }
    rates = f"N-acc {percent(found.n_acc)} of {found.num_empty}, T-acc {percent(found.t_acc)} of {found.n} expressions"
    missing = f"; {len(found.missing)} without a prediction" if found.missing else ""
    return f"{table(name, columns, rows, revos.CONVENTION)}\n\n{rates}{missing}"


def _foreground(file: Path, name: str) -> Callable[[Sample], Sequence[int]]:
    """A video -> for each frame the pixels of all its annotated objects. Raises Fault or ValueError that name the file."""
    videos = read_json(file, name)

    def areas(sample: Sample) -> Sequence[int]:
        video = video_name(sample)
        try:
            masks = take(take(videos, video, dict), "masks_rle", list)
            if len(masks) != sample.num_frames:
                raise ValueError(f"{len(masks)} masks, the video has {sample.num_frames} frames")
            return [_area(mask, sample.size) for mask in masks]
        except ValueError as error:
            raise ValueError(f"{file}: {video}: {error}") from error

    return areas


def _area(masks: Any, size: tuple[int, int]) -> int:
    """Pixels of a frame's foreground: run lengths, nothing, or a list of them, whose areas VISA adds where they overlap."""
    parts = masks if isinstance(masks, list) else [masks]
    return sum(int(np.count_nonzero(decode(part, size))) for part in parts if part is not None)


def _covers(source: Stills, number: int, sample: Sample) -> Iterator[Cover]:
    """For each expression of a video what lies on a pixel: the union that a sample has does not say it."""
    assert isinstance(source.read, ReadVideo)
    record = source.index.record(number)
    still = Still(sample.key, source.root, source.root / record["image"])
    opened = source.read.masks.open(still, sample.frame_names, sample.size)

    def cover_of(things: Sequence[object]) -> Cover:
        nothing = np.zeros(sample.size, dtype=np.uint8)
        return lambda frame: sum((opened.mask([one], frame).astype(np.uint8) for one in things), nothing)

    return (cover_of(one["things"]) for one in record["expressions"])
