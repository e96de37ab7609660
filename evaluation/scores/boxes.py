"""Scores of expressions that are answered with boxes (GREC, on gRefCOCO).

Source: mdetr/datasets/refexp.py of henghuiding/gRefCOCO at 41a8f00. The paper says IoU; the code takes the generalised one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.scores.iou import share

BOX_SCORE = 0.7  # a box of a lower score is no answer; compared in double precision
BOX_GIOU = 0.5  # generalised IoU from which on a box hits


@dataclass(frozen=True)
class BoxScore:
    """Expressions answered with boxes, as the gRefCOCO repository scores them."""

    f1: float
    """share of the expressions whose boxes are exactly right (F1 = 1), 0 to 1; 0 for none"""
    n_acc: float | None
    """share of the empty expressions that got no box"""
    t_acc: float | None
    """share of the others that got one"""
    n: int


@dataclass(frozen=True)
class Boxes:
    """One expression in boxes (x0, y0, x1, y1), pixels of the original image, half-open."""

    predicted: NDArray[np.float32]
    """float32 [P, 4]"""
    scores: Sequence[float]
    """of the predicted boxes, 0 to 1"""
    target: NDArray[np.float32]
    """float32 [G, 4]; none means that there is nothing to be found"""


def box_of(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """float32 [1, 4]: the box round a mask, bool [H, W]; [0, 4] round an empty one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros((0, 4), dtype=np.float32)
    return np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], dtype=np.float32)


def score_boxes(answers: Sequence[Boxes]) -> BoxScore:
    """All numbers of GREC: boxes are matched greedily on GIoU, and an expression is right if all of them are."""
    cells = {(is_empty, has_box): 0 for is_empty in (True, False) for has_box in (True, False)}
    right = 0
    for one in answers:
        # A detector's scores are single precision, and 0.7 in it is less than 0.7: such a box is no answer there either.
        kept = one.predicted[np.asarray(one.scores, dtype=np.float32).astype(np.float64) >= BOX_SCORE]
        cells[len(one.target) == 0, len(kept) > 0] += 1
        right += len(kept) == len(one.target) == _matches(kept, one.target)
    return BoxScore(
        f1=right / len(answers) if answers else 0.0,
        n_acc=share(cells[True, False], cells[True, False] + cells[True, True]),
        t_acc=share(cells[False, True], cells[False, True] + cells[False, False]),
        n=len(answers),
    )


def _matches(predicted: NDArray[np.float32], target: NDArray[np.float32]) -> int:
    """How many pairs are found when the best pair is taken first, and each box once."""
    overlaps, found = generalised_iou(predicted, target), 0
    while overlaps.size and overlaps.max() >= BOX_GIOU:
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[row, :], overlaps[:, column] = 0, 0
        found += 1
    return found


def generalised_iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [A, B], -1 to 1: IoU less the share of the enclosing box that neither covers.

    first, second: float32 [A, 4] and [B, 4], boxes (x0, y0, x1, y1) of an area above 0.
    """
    a, b = first[:, None], second[None]
    areas = [np.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    inner = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    outer = np.prod(np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2]), axis=-1)
    shared = np.prod(inner, axis=-1)
    union = areas[0] + areas[1] - shared
    overlap: NDArray[np.float32] = shared / union - (outer - union) / outer
    return overlap
