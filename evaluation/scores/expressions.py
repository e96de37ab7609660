"""J&F of expressions on videos: MeViS, Ref-YouTube-VOS, ReasonVOS, and Ref-DAVIS17 expression by expression.

An expression's J is the mean of J over its scored frames, first and last included; a benchmark's J is the mean over expressions,
whatever video they belong to; J&F is the mean of J and F. F is counted alike. Two conventions differ in what a missing
prediction is:

  every   it scores J = F = 0, also where nothing was to be found (tools/eval_mevis.py:29-32 of henghuiding/MeViS at 7c0620b for a
          video without predictions; VISA at ec158fd and GLUS at 8fd138b are equal). MeViS' own script breaks off where one
          expression is missing in a video that has others, and then leaves it out of the mean; here it scores 0 as well.
  found   it is left out of the mean (evaluation/mevis_val_u/eval_mevis.py:28-29 of showlab/VideoLISA at 146f2bc, and the
          scripts for ReasonVOS of VideoLISA and GLUS), which flatters a model that fails.

Two numbers of ours say what a memory is for: how good masks are of what is back after it was out of sight, and whether nothing is
drawn while it is.

Ref-YouTube-VOS' and MeViS' servers are closed; papers report J, F and J&F, and `every` is what they are taken to be. Frames
without a truth are not scored: ReasonVOS annotates some frames only, Ref-YouTube-VOS every fifth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from seglm.evaluation.scores.iou import share
from seglm.evaluation.scores.regions import FrameCounts

Convention = Literal["every", "found"]
CONVENTIONS: Mapping[Convention, str] = {
    "every": "MeViS' J&F: mean over the frames of an expression, then over expressions; a missing prediction scores 0",
    "found": "VideoLISA's J&F: mean over the frames of an expression, then over those that have a prediction",
}


@dataclass(frozen=True)
class Asked:
    """An expression of a benchmark."""

    video: str
    name: str
    """of the expression in its video, e.g. its number"""
    kind: str = ""
    is_empty: bool = False
    """whether the annotation says that it means nothing in the video"""

    def __str__(self) -> str:
        return f"{self.video}/{self.name}"


@dataclass(frozen=True)
class Track:
    """An expression's predicted masks, all frames against the true ones. A few numbers: processes exchange these."""

    asked: Asked
    j: float
    """mean over frames, 0 to 1"""
    f: float
    """mean over frames, 0 to 1"""
    num_frames: int
    """how many were scored; 0 where no frame has a truth, and then there is no score"""
    is_drawn: bool
    """whether a mask of any frame has a pixel"""
    behind: float | None = None
    """mean J of the frames in which it is seen again, behind one in which it was not; None if there are none"""
    absent: float | None = None
    """share of the frames in which nothing of it is seen whose mask is empty; None if there are none, or if it is never seen"""

    @property
    def jf(self) -> float:
        """J&F, the mean of the two."""
        return (self.j + self.f) / 2


@dataclass(frozen=True)
class Score:
    """Some expressions taken together."""

    j: float
    """mean over expressions, 0 to 1; 0 for none"""
    f: float
    """mean over expressions, 0 to 1; 0 for none"""
    n: int
    """expressions that the means are of"""
    missing: tuple[str, ...]
    """`VIDEO/NAME` of the expressions without a prediction, whether they count or not"""
    num_empty: int
    """expressions of the mean that mean nothing"""
    n_acc: float | None
    """share of these whose masks are empty in every frame; None if there are none; a missing prediction is no rejection"""
    t_acc: float | None
    """share of the others that have a mask in some frame; None if there are none"""
    positives: float | None
    """J&F of the expressions that mean something alone; None if there are none"""
    emission: float | None = None
    """share of the answers in which a mask token was written, 0 to 1; None where the answers were given and not written"""
    behind: float | None = None
    """mean of `Track.behind` over the expressions that have it"""
    num_behind: int = 0
    """how many these are"""
    absent: float | None = None
    """mean of `Track.absent` over the expressions that have it"""
    num_absent: int = 0
    """how many these are"""

    @property
    def jf(self) -> float:
        """J&F, the mean of the two."""
        return (self.j + self.f) / 2


def track(asked: Asked, frames: Iterable[FrameCounts]) -> Track:
    """The score of one expression, from its frames in their order, which may be counted as they come: a few numbers are kept.

    Raises ValueError if there is no frame.
    """
    pairs, behind, absent = [], list[float](), list[bool]()
    is_drawn = was_seen = was_away = False
    for frame in frames:
        pairs.append((frame.j, frame.f))
        is_drawn = is_drawn or frame.predicted > 0
        if frame.target:
            was_seen = True
            if was_away:
                behind.append(frame.j)
        else:
            was_away = was_seen
            absent.append(not frame.predicted)
    if not pairs:
        raise ValueError(f"{asked}: no frame to score; a video has one at least")
    # As the originals do it: NumPy's mean adds in an order of its own, which the last bit shows.
    j, f = (float(np.mean(np.array(values))) for values in zip(*pairs, strict=True))
    return Track(
        asked,
        j,
        f,
        len(pairs),
        is_drawn,
        behind=_mean(behind),
        absent=_mean(absent) if was_seen else None,
    )


def score(tracks: Iterable[Track], asked: Sequence[Asked], *, convention: Convention = "every") -> Score:
    """All numbers of the expressions that were asked.

    asked: in the order of the benchmark's own file. In this order means are taken, so that it does not matter which process
    scored what, or when; also not to the last bit.
    tracks: those that have a prediction. Raises ValueError if one is there twice or was not asked.
    """
    found = by_expression(tracks, asked)
    missing = tuple(str(one) for one in asked if one not in found)
    counted = [one for one in asked if convention == "every" or one in found]
    values = [(found[one].j, found[one].f) if one in found else (0.0, 0.0) for one in counted]
    drawn = {one: one in found and found[one].is_drawn for one in counted}
    silent = [one in found and not drawn[one] for one in counted if one.is_empty]
    shown = [drawn[one] for one in counted if not one.is_empty]
    positives = [value for one, value in zip(counted, values, strict=True) if not one.is_empty]
    j, f = means(values)
    tracks_in_order = [found[one] for one in asked if one in found]
    behind = [one.behind for one in tracks_in_order if one.behind is not None]
    absent = [one.absent for one in tracks_in_order if one.absent is not None]
    return Score(
        j=j,
        f=f,
        n=len(counted),
        missing=missing,
        num_empty=len(silent),
        n_acc=share(sum(silent), len(silent)),
        t_acc=share(sum(shown), len(shown)),
        positives=sum(means(positives)) / 2 if positives else None,
        behind=_mean(behind),
        num_behind=len(behind),
        absent=_mean(absent),
        num_absent=len(absent),
    )


def by_kind(
    tracks: Iterable[Track], asked: Sequence[Asked], *, convention: Convention = "every"
) -> dict[str, Score]:
    """The same for the expressions of each kind, by name of the kind."""
    found = by_expression(tracks, asked)
    scores = {}
    for kind in sorted({one.kind for one in asked}):
        some = [one for one in asked if one.kind == kind]
        scores[kind] = score([found[one] for one in some if one in found], some, convention=convention)
    return scores


def by_expression(tracks: Iterable[Track], asked: Sequence[Asked]) -> dict[Asked, Track]:
    """The tracks by what was asked. Raises ValueError if one is there twice or was not asked."""
    found: dict[Asked, Track] = {}
    known = set(asked)
    for one in tracks:
        if one.asked in found:
            raise ValueError(f"{one.asked} is scored twice; each process scores its own expressions")
        if one.asked not in known:
            raise ValueError(
                f"{one.asked} is none of the {len(known)} expressions that were asked"
                + (f", the first of which is {asked[0]}" if asked else "")
            )
        found[one.asked] = one
    return found


def _mean(values: Sequence[float]) -> float | None:
    """None if there is nothing to take a mean of."""
    return fmean(values) if values else None


def means(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The mean of each column; (0, 0) for no row."""
    return tuple(float(np.mean(np.array(column))) for column in zip(*rows, strict=True)) or (0.0, 0.0)
