"""gIoU and cIoU of expressions, and the precision at a threshold.

Every expression is first turned into whole numbers of pixels (`Counts`). Everything else is arithmetic on these numbers, so a
score does not depend on how many processes counted or in which order their results came in.

Two conventions, by name:
  lisa    I / (U + 1e-5), plus 1 where U is 0; gIoU = sum / (n + 1e-5); cIoU = sum I / (sum U + 1e-10)
          (train_ds.py:523-580 and utils/utils.py:52-128 of dvlab-research/LISA at 3cb2d43; VISA and VideoLISA are equal)
  plain   I / U, 1 where U is 0; mean over expressions; sum I / sum U, 1 where the sum is 0
In both an expression is one sentence, an answer without a mask is an empty mask, and ignored pixels are out of I and U.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Convention = Literal["lisa", "plain"]
IOU_EPS = 1e-5  # LISA's: keeps I / U defined; an expression of 10 pixels loses 1e-6 by it
CIOU_EPS = 1e-10  # LISA's: keeps the ratio of sums defined
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""for Pr@X: the share of expressions with IoU >= X, as ReLA and the RefCOCO papers report it"""
CONVENTIONS: Mapping[Convention, str] = {
    "lisa": "LISA's gIoU/cIoU: one term a sentence, I/(U+1e-5), 1 if both masks are empty, ignored pixels left out",
    "plain": "plain mIoU/oIoU: one term a sentence, I/U, 1 if both masks are empty, ignored pixels left out",
}


@dataclass(frozen=True)
class Counts:
    """One expression in pixels; ignored pixels are in none of the numbers."""

    intersection: int
    union: int
    predicted: int
    """pixels of the predicted mask"""
    target: int
    """pixels of the true mask"""

    @property
    def iou(self) -> float:
        """I / U, 1 where both masks are empty."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be found."""
        return self.target == 0


@dataclass(frozen=True)
class Score:
    """Some expressions taken together."""

    giou: float
    """mean IoU over expressions, 0 to 1; of positives and empty targets alike, as LISA has it"""
    ciou: float
    """intersections over unions, each summed first, 0 to 1"""
    n: int
    """number of expressions"""
    emission: float | None
    """share of the answers in which a mask token was written, 0 to 1; None where the answers were given and not written"""
    precision: tuple[float | None, ...]
    """share of the expressions with IoU >= each of `thresholds`; None where there is nothing to count"""
    num_empty: int
    """expressions without a referent"""
    n_acc: float | None
    """share of these that were rejected; None if there are no such expressions"""
    t_acc: float | None = None
    """share of the expressions with a referent that were not rejected; None if there are none"""
    positives: float | None = None
    """mean IoU over the expressions with a referent alone; None if there are none"""
    thresholds: tuple[float, ...] = THRESHOLDS
    """what `precision` is of"""


def count(
    prediction: NDArray[np.bool_], target: NDArray[np.bool_], *, ignore: NDArray[np.bool_] | None = None
) -> Counts:
    """Counts the pixels of one expression.

    prediction, target, ignore: bool [..., H, W] of one shape, original pixels. A prediction on an ignored pixel counts for
    nothing: neither as a hit nor in the union.
    Raises ValueError if shapes differ or a mask is not bool (a mask of 0 and 255 would be counted 255 times).
    """
    for name, mask in (("prediction", prediction), ("target", target), ("ignore", ignore)):
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != prediction.shape):
            raise ValueError(
                f"{name} is {mask.dtype} {mask.shape}; masks are bool and all of one shape, here {prediction.shape}"
            )
    if ignore is not None:
        prediction, target = prediction & ~ignore, target & ~ignore
    return Counts(
        intersection=int(np.count_nonzero(prediction & target)),
        union=int(np.count_nonzero(prediction | target)),
        predicted=int(np.count_nonzero(prediction)),
        target=int(np.count_nonzero(target)),
    )


def giou(counts: Sequence[Counts], convention: Convention = "lisa") -> float:
    """Mean IoU over expressions; 0 for none. The sum is exact, so the order of `counts` does not matter."""
    if convention == "plain":
        return math.fsum(one.iou for one in counts) / len(counts) if counts else 0.0
    terms = (one.intersection / (one.union + IOU_EPS) + (one.union == 0) for one in counts)
    return math.fsum(terms) / (len(counts) + IOU_EPS)


def ciou(counts: Sequence[Counts], convention: Convention = "lisa") -> float:
    """Sum of intersections over sum of unions; an empty target that got a mask enlarges the union."""
    intersection, union = sum(one.intersection for one in counts), sum(one.union for one in counts)
    if convention == "plain":
        return intersection / union if union else float(bool(counts))
    return intersection / (union + CIOU_EPS)


def precision_at(counts: Sequence[Counts], threshold: float) -> float:
    """Share of the expressions with IoU >= threshold, 0 for none; a ratio that equals the threshold counts."""
    hits = sum(one.iou >= threshold for one in counts)
    return hits / len(counts) if counts else 0.0


def score(
    counts: Sequence[Counts],
    emitted: Sequence[bool] | None,
    *,
    rejected: Sequence[bool] | None = None,
    convention: Convention = "lisa",
) -> Score:
    """All numbers of some expressions.

    emitted: for each expression whether its answer had a mask token; None where the answers were given.
    rejected: for each expression whether the answer says that there is nothing; None takes an empty mask for that. The masks are
    scored as they are, so a mask that was decoded in spite of a rejection counts.
    """
    rejected = [one.predicted == 0 for one in counts] if rejected is None else rejected
    if len(counts) != len(rejected) or (emitted is not None and len(counts) != len(emitted)):
        raise ValueError(f"{len(counts)} counts, but {len(rejected if emitted is None else emitted)} answers")
    empty = [no for one, no in zip(counts, rejected, strict=True) if one.is_empty]
    found = [not no for one, no in zip(counts, rejected, strict=True) if not one.is_empty]
    positives = [one for one in counts if not one.is_empty]
    return Score(
        giou=giou(counts, convention),
        ciou=ciou(counts, convention),
        n=len(counts),
        emission=sum(emitted) / len(emitted) if emitted else None,
        precision=tuple(precision_at(counts, threshold) for threshold in THRESHOLDS),
        num_empty=len(empty),
        n_acc=sum(empty) / len(empty) if empty else None,
        t_acc=sum(found) / len(found) if found else None,
        positives=giou(positives, convention) if positives else None,
    )


def share(part: int, whole: int) -> float | None:
    """None if there is nothing to take a share of."""
    return part / whole if whole else None
