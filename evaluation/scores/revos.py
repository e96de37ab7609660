"""ReVOS: J, F, accuracy A and robustness R of referring (type 0) and reasoning (type 1) expressions, and of what is not
there (type 2).

  A   share of a frame's pixels that are right
  R   1 less the false positives as a share of all annotated objects' pixels (the foreground) in the frame; 0 at least

Means over the frames of an expression, in percent, are rounded to two decimals (tools/eval_revos.py of cilinyan/VISA at ec158fd;
GLUS is equal) and then averaged over the expressions of a type; overall is the plain mean of referring and reasoning. Type 2
is in no number of the original; here it has N-acc and T-acc. An expression without a prediction scores 0 everywhere.

The originals have other numbers for A and R, because get_r2vos_accuracy and get_r2vos_robustness of their tools/metrics.py
calculate in bytes, with a truth that counts the expression's objects on each pixel:

  legacy   VISA, GLUS: a mask is 0 and 255. Each false positive counts 255 times, and no pixel of an object is ever right.
           Published R of 5 to 20 percent is this one.
  sa2va    Sa2VA's, from run lengths: a mask is 0 and 1. Right, but for pixels of several objects: there 1 - 2 is 255 false ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.scores import expressions
from seglm.evaluation.scores.expressions import Asked, Track, means
from seglm.evaluation.scores.expressions import score as score_expressions
from seglm.evaluation.scores.expressions import track as track_expression
from seglm.evaluation.scores.regions import FrameCounts, count_frame

CONVENTION = (
    "VISA's J&F of ReVOS: two decimals an expression, mean over each type, overall the mean of referring and reasoning; "
    "A and R of masks of 0 and 1 (legacy: of 0 and 255, as VISA's script reads them); a missing prediction scores 0"
)
CONVENTION_JF = (
    "VISA's J&F of ReVOS: two decimals an expression, mean over each type, overall the mean of referring and reasoning; what is "
    "not there is in no mean; a missing prediction scores 0"
)
REFERRING, REASONING, NOT_THERE = "referring", "reasoning", "none"
KINDS = (REFERRING, REASONING, NOT_THERE)
"""what an expression's `type_id` means"""
FOREGROUND_EPS = 1e-6  # pixels; keeps R defined where nothing is annotated
BYTE = 256


class Accuracies(NamedTuple):
    """A and R in three readings, see the top of this file."""

    a: float
    r: float
    legacy_a: float
    legacy_r: float
    sa2va_a: float
    sa2va_r: float


class Values(NamedTuple):
    """In percent; of an expression rounded to two decimals, of several their mean."""

    j: float
    f: float
    a: float
    r: float
    legacy_a: float
    legacy_r: float
    sa2va_a: float
    sa2va_r: float

    @property
    def jf(self) -> float:
        """J&F."""
        return (self.j + self.f) / 2


NOTHING, NOT_ASKED = Values(*[0.0] * 8), Values(*[math.nan] * 8)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of one expression."""

    counts: FrameCounts
    foreground: int
    """pixels of all annotated objects of the video in this frame"""
    shared: int
    """predicted pixels on which several of the expression's objects lie"""
    further: int
    """objects on these pixels, the first of each apart"""

    @property
    def accuracies(self) -> Accuracies:
        """Shares, 0 to 1."""
        counts = self.counts
        background, false = counts.pixels - counts.union, counts.predicted - counts.intersection
        right = (background + counts.intersection, background, background + counts.intersection - self.shared)
        # 1 - k in a byte is 257 - k, and times 255 it is k - 1.
        wrong = (false, 255 * false + self.further, false + BYTE * self.shared - self.further)
        a = [pixels / counts.pixels for pixels in right]
        r = [max(1 - pixels / (self.foreground + FOREGROUND_EPS), 0.0) for pixels in wrong]
        return Accuracies(a[0], r[0], a[1], r[1], a[2], r[2])


@dataclass(frozen=True)
class RevosTrack:
    """An expression's predicted masks, all frames against the true ones. A few numbers: processes exchange these."""

    track: Track
    """J and F, means over frames, 0 to 1"""
    accuracies: Accuracies
    """means over frames, 0 to 1"""

    @property
    def rounded(self) -> Values:
        """As the original writes them into its table."""
        return Values(*(round(100 * number, 2) for number in (self.track.j, self.track.f, *self.accuracies)))


@dataclass(frozen=True)
class Score:
    """A benchmark's outcome."""

    referring: Values
    """nan where none was asked, as in the original"""
    reasoning: Values
    """nan where none was asked"""
    overall: Values
    """mean of the two, whatever their numbers of expressions; of one where only that was asked, for which the original has nan"""
    n: int
    """expressions of both types"""
    missing: tuple[str, ...]
    """`VIDEO/NAME` of all expressions without a prediction"""
    num_empty: int
    """expressions of what is not there"""
    n_acc: float | None
    """share of these whose masks are empty in every frame, 0 to 1; None if there are none"""
    t_acc: float | None
    """share of the others that have a mask in some frame, 0 to 1; None if there are none"""


def count(prediction: NDArray[np.bool_], cover: NDArray[np.uint8], *, foreground: int) -> Frame:
    """Counts one frame.

    prediction: bool [H, W]. cover: uint8 [H, W], how many of the expression's objects lie on a pixel. foreground: pixels of all
    annotated objects of the video in this frame (mask_dict_foreground.json).
    Raises ValueError if sizes or types are others.
    """
    if cover.dtype != np.uint8 or cover.shape != prediction.shape:
        raise ValueError(
            f"cover is {cover.dtype} {cover.shape}; it is uint8, the number of objects on each pixel of {prediction.shape}"
        )
    counts = count_frame(prediction, cover > 0)
    several = cover[prediction & (cover > 1)]
    return Frame(counts, foreground, several.size, int(several.sum(dtype=np.int64)) - several.size)


def track(asked: Asked, frames: Iterable[Frame]) -> RevosTrack:
    """The score of one expression, from frames that may be counted as they come. Raises ValueError if there is none."""
    accuracies: list[Accuracies] = []

    def counts() -> Iterator[FrameCounts]:
        for frame in frames:
            accuracies.append(frame.accuracies)
            yield frame.counts

    found = track_expression(asked, counts())
    return RevosTrack(found, Accuracies(*means(accuracies)))


def overall(
    tracks: Iterable[Track], asked: Sequence[Asked], types: Sequence[str] = (REFERRING, REASONING)
) -> expressions.Score:
    """J and F alone, in the same convention: the mean of the two types, each the mean of its expressions; shares, 0 to 1. `n`
    counts all, what is not there too, which is in no mean. A type of which nothing was asked is in no mean, either.

    types: other kinds than ReVOS', for a benchmark that is averaged alike. asked, errors: as for `score`.
    """
    _check_kinds(asked, (*types, NOT_THERE))
    given = list(tracks)
    found = {one.asked: (round(100 * one.j, 2), round(100 * one.f, 2)) for one in given}
    values = [[found.get(one, (0.0, 0.0)) for one in asked if one.kind == kind] for kind in types]
    j, f = means([means(one) for one in values if one])
    return replace(score_expressions(given, asked), j=j / 100, f=f / 100, positives=(j + f) / 200)


def score(tracks: Iterable[RevosTrack], asked: Sequence[Asked]) -> Score:
    """All numbers. asked: in the order of the benchmark's file, each of one of KINDS.

    Raises ValueError for another kind, and for tracks as `expressions.score`.
    """
    _check_kinds(asked)
    given = list(tracks)
    plain = score_expressions([one.track for one in given], asked)
    found = {one.track.asked: one.rounded for one in given}
    values = [
        [found.get(one, NOTHING) for one in asked if one.kind == kind] for kind in (REFERRING, REASONING)
    ]
    referring, reasoning = (Values(*means(one)) if one else NOT_ASKED for one in values)
    types = [one for one in (referring, reasoning) if one is not NOT_ASKED] or [NOT_ASKED]
    return Score(
        referring=referring,
        reasoning=reasoning,
        overall=Values(*(sum(column) / len(types) for column in zip(*types, strict=True))),
        n=sum(one.kind != NOT_THERE for one in asked),
        missing=plain.missing,
        num_empty=plain.num_empty,
        n_acc=plain.n_acc,
        t_acc=plain.t_acc,
    )


def _check_kinds(asked: Sequence[Asked], kinds: Sequence[str] = KINDS) -> None:
    if unknown := [one for one in asked if one.kind not in kinds]:
        raise ValueError(
            f"{unknown[0]} is of the kind {unknown[0].kind!r}; its benchmark has {', '.join(kinds)}"
        )
