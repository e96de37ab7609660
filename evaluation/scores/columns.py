"""The numbers of a score by the names that tables print, whether it is of pictures or of videos."""

from __future__ import annotations

from dataclasses import dataclass

from seglm.evaluation.scores import expressions, iou

Score = iou.Score | expressions.Score
POSITIVES, EMISSION, N_ACC, T_ACC = "positives", "[SEG] rate", "N-acc", "T-acc"
OUT_OF_SIGHT = BEHIND, ABSENT = "J behind", "absent"
"""of videos: how good masks are of what is back after it was out of sight, and how often nothing is drawn while it is"""
OF_EMPTY = (POSITIVES, N_ACC, T_ACC)
"""what is of interest only where some expressions mean nothing"""


@dataclass(frozen=True)
class Column:
    name: str
    n: int
    """expressions that the number is about"""
    value: float | None
    """a share, 0 to 1; None if it is about none"""


def columns(score: Score, *, short: bool = False) -> tuple[Column, ...]:
    """All numbers of a score; the first is the one that a benchmark is known by: gIoU, or J&F.

    short: without the precisions, and without what has no meaning here, because every expression means something, or nothing is
    ever out of sight.
    """
    positives = score.n - score.num_empty
    front = (Column(name_of(score), score.n, main(score)), Column(POSITIVES, positives, score.positives))
    parts = {"cIoU": score.ciou} if isinstance(score, iou.Score) else {"J": score.j, "F": score.f}
    own = [Column(name, score.n, value) for name, value in parts.items()]
    precision = _precision(score) if isinstance(score, iou.Score) and not short else ()
    every = (
        *front,
        *own,
        Column(EMISSION, score.n, score.emission),
        *precision,
        Column(N_ACC, score.num_empty, score.n_acc),
        Column(T_ACC, positives, score.t_acc),
        *(_out_of_sight(score) if isinstance(score, expressions.Score) else ()),
    )
    if not short:
        return every
    idle = () if score.num_empty else OF_EMPTY
    return tuple(one for one in every if one.name not in idle and (one.n or one.name not in OUT_OF_SIGHT))


def _out_of_sight(score: expressions.Score) -> tuple[Column, Column]:
    return Column(BEHIND, score.num_behind, score.behind), Column(ABSENT, score.num_absent, score.absent)


def main(score: Score) -> float:
    """The number that a benchmark is known by, 0 to 1."""
    return score.giou if isinstance(score, iou.Score) else score.jf


def name_of(score: Score) -> str:
    """What that number is called."""
    return "gIoU" if isinstance(score, iou.Score) else "J&F"


def _precision(score: iou.Score) -> tuple[Column, ...]:
    pairs = zip(score.thresholds, score.precision, strict=True)
    return tuple(Column(f"Pr@{threshold}", score.n, share) for threshold, share in pairs)
