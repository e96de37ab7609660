"""DAVIS-2017: J and F of objects, when their numbers are given (semi-supervised) and when they have to be matched (unsupervised).

Source: davis2017/evaluation.py and davis2017/utils.py of davisvideochallenge/davis2017-evaluation at ac7c43f; every number is
equal to the last bit. A frame is a map of numbers: 0 is background, 255 of a truth is void, and an object's number is its
mask's. How many objects a video has is said by its first frame; one that comes later is not scored.

  semi-supervised   object by object; first and last frame are not scored; void is background; an object that was not predicted
                    is an empty mask, a number that no object has is an error
  unsupervised      all frames; void belongs to nothing; up to 20 proposals, and to each object goes another one, so that the sum
                    of mean J + mean F is the largest that there is

Mean, recall (share of frames above 0.5) and decay (first less last quarter) are taken over the frames of an object, and their
means over all objects of all videos.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.scores.regions import FrameCounts, count_frame

Numbers = NDArray[np.uint8]
"""uint8 [H, W]"""
Task = Literal["semi-supervised", "unsupervised"]
CONVENTIONS: Mapping[Task, str] = {
    "semi-supervised": "DAVIS-2017 semi-supervised: mean over frames but the first and last, then over objects; void is "
    "background",
    "unsupervised": "DAVIS-2017 unsupervised: proposals matched to objects, mean over all frames, then over objects; void is "
    "left out",
}
VOID = 255
MOST_PROPOSALS = 20  # of a video (max_n_proposals)
RECALLED = 0.5  # J or F above it
QUARTERS = 4  # of a video, for the decay
BYTE = 256


@dataclass(frozen=True)
class Statistics:
    """Of J or of F; NaN where there is nothing to take a mean of."""

    mean: float
    recall: float
    """share of the frames above 0.5"""
    decay: float
    """mean of the first quarter less that of the last; below 0 for masks that get better"""


@dataclass(frozen=True)
class ObjectScore:
    """One object of one video."""

    j: Statistics
    f: Statistics


@dataclass(frozen=True)
class VideoScore:
    """The objects of one video. Unsupervised they stand in the order of their proposals, as the original prints them."""

    video: str
    objects: tuple[ObjectScore, ...]


@dataclass(frozen=True)
class Score:
    """All objects of all videos."""

    j: Statistics
    f: Statistics
    jf: float
    """J&F, the mean of the two means"""
    n: int
    """objects"""


def statistics(values: Sequence[float]) -> Statistics:
    """Mean, recall and decay over the frames of one object; frames that are NaN are left out of the means and not recalled."""
    numbers = np.array(values, dtype=np.float64)
    ends = np.round(np.linspace(1, len(numbers), QUARTERS + 1) + 1e-10) - 1
    # Frame numbers of one byte, as there: from the 256th frame on the last quarters begin or end at 0 again.
    starts, stops = ends.astype(np.int64) % BYTE, (ends.astype(np.int64) + 1) % BYTE
    quarters = [numbers[start:stop] for start, stop in zip(starts[:-1], stops[1:], strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)  # the mean of nothing, which is NaN
        return Statistics(
            mean=float(np.nanmean(numbers)),
            recall=float(np.nanmean(numbers > RECALLED)),
            decay=float(np.nanmean(quarters[0]) - np.nanmean(quarters[-1])),
        )


def num_objects(first: Numbers) -> int:
    """How many objects a video has: the largest number in its first true frame, uint8 [H, W], void apart."""
    return int(np.where(first == VOID, 0, first).max())


def semi_supervised(video: str, frames: Iterable[tuple[Numbers, Numbers]], *, objects: int) -> VideoScore:
    """The objects of one video by their numbers.

    frames: (prediction, truth) of the scored ones, thus neither of the first nor of the last; only counts of each are kept.
    objects: `num_objects` of the first true frame.
    Raises ValueError for a number in a prediction that no object has, for sizes that differ and for a video without frames.
    """
    counts: list[list[FrameCounts]] = []
    for number, (prediction, truth) in enumerate(frames):
        _check(video, number, prediction, truth)
        if (highest := int(prediction.max())) > objects:
            raise ValueError(
                f"{video}: scored frame {number} has a mask of the number {highest}, the video has {objects} objects; "
                "write 0 for what is none of them, or score it as unsupervised"
            )
        counts.append([count_frame(prediction == one, truth == one) for one in _numbers(objects)])
    _check_length(video, counts)
    return VideoScore(video, tuple(_object(frames) for frames in zip(*counts, strict=True)))


def unsupervised(video: str, frames: Iterable[tuple[Numbers, Numbers]], *, objects: int) -> VideoScore:
    """The objects of one video, each with the proposal that suits it best, none twice.

    frames: (prediction, truth) of all frames; only counts of each are kept. objects: `num_objects` of the first true frame.
    Raises ValueError for more than 20 proposals, sizes that differ and a video without frames; ImportError without SciPy.
    """
    shown: list[dict[int, list[FrameCounts]]] = []
    for number, (prediction, truth) in enumerate(frames):
        _check(video, number, prediction, truth)
        prediction = np.where(truth == VOID, 0, prediction)
        targets = [truth == one for one in _numbers(objects)]
        proposals = [0, *_present(prediction)]  # 0 stands for a proposal that is not in this frame
        masks = {
            one: (prediction == one) if one else np.zeros(truth.shape, dtype=np.bool_) for one in proposals
        }
        shown.append({one: [count_frame(mask, target) for target in targets] for one, mask in masks.items()})
    _check_length(video, shown)
    highest = max(max(frame) for frame in shown)
    if highest > MOST_PROPOSALS:
        raise ValueError(
            f"{video} has a proposal of the number {highest}; DAVIS permits {MOST_PROPOSALS} in a video"
        )
    if not objects:
        return VideoScore(video, ())
    # Axes: proposal, object, frame.
    each = [
        [[frame.get(proposal, frame[0])[one] for frame in shown] for one in range(objects)]
        for proposal in _numbers(max(highest, objects))
    ]
    j, f = (
        np.array([[[getattr(one, name) for one in row] for row in rows] for rows in each]) for name in "jf"
    )
    rows, columns = _matched((np.mean(j, axis=2) + np.mean(f, axis=2)) / 2)
    return VideoScore(
        video,
        tuple(ObjectScore(statistics(j[at]), statistics(f[at])) for at in zip(rows, columns, strict=True)),
    )


def score(videos: Iterable[VideoScore], asked: Sequence[str]) -> Score:
    """The means over all objects. asked: the videos in the order of the benchmark's own list, in which means are taken.

    Raises ValueError that names videos which are missing (DAVIS' own program stops there, too), there twice, or not asked.
    """
    found: dict[str, VideoScore] = {}
    for video in videos:
        if video.video in found or video.video not in asked:
            told = (
                "is scored twice"
                if video.video in found
                else f"is none of the {len(asked)} videos of the list"
            )
            raise ValueError(f"{video.video} {told}")
        found[video.video] = video
    if missing := [name for name in asked if name not in found]:
        raise ValueError(f"no prediction for {len(missing)} of {len(asked)} videos: {', '.join(missing[:5])}")
    objects = [one for name in asked for one in found[name].objects]
    if not objects:
        raise ValueError(f"{len(asked)} videos without an object; there is nothing to score")
    j, f = (mean_of([getattr(one, name) for one in objects]) for name in "jf")
    return Score(j, f, (j.mean + f.mean) / 2, len(objects))


def mean_of(some: Sequence[Statistics]) -> Statistics:
    """The mean of each number."""
    return Statistics(
        *(float(np.mean([getattr(one, name) for one in some])) for name in ("mean", "recall", "decay"))
    )


def csv_text(score: Score, digits: int = 3) -> str:
    """global_results-val.csv as the original writes it; VideoLISA writes five digits."""
    names = ("J&F-Mean", *(f"{kind}-{name}" for kind in "JF" for name in ("Mean", "Recall", "Decay")))
    values = [score.jf, *(value for one in (score.j, score.f) for value in (one.mean, one.recall, one.decay))]
    return ",".join(names) + "\n" + ",".join(f"{value:.{digits}f}" for value in values) + "\n"


def _object(frames: Sequence[FrameCounts]) -> ObjectScore:
    return ObjectScore(statistics([one.j for one in frames]), statistics([one.f for one in frames]))


def _numbers(count: int) -> range:
    return range(1, count + 1)


def _present(numbers: Numbers) -> list[int]:
    """The numbers that a frame holds, 0 apart."""
    return [int(one) for one in np.flatnonzero(np.bincount(numbers.reshape(-1), minlength=1)) if one]


def _matched(worth: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(proposals, objects) of the pairs that are worth most together; worth: [proposal, object]."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-worth)
    return rows, columns


def _check(video: str, number: int, prediction: Numbers, truth: Numbers) -> None:
    for name, frame in (("prediction", prediction), ("truth", truth)):
        if frame.dtype != np.uint8 or frame.ndim != 2 or frame.shape != truth.shape:
            raise ValueError(
                f"{video}: the {name} of scored frame {number} is {frame.dtype} {frame.shape}; both are uint8 maps of numbers "
                f"of one size, the truth is {truth.shape}"
            )


def _check_length(video: str, frames: Sequence[object]) -> None:
    if not frames:
        raise ValueError(
            f"{video}: no frame to score; semi-supervised needs three, the first and last of which do not count"
        )
