"""Scores of expressions that may have no referent: gRefCOCO and Ref-ZOM, in the two published conventions.

An expression is its pixels (`Counts`) and whether the answer rejected it. What each of the four cases adds:

  truth    answer     cell            gsva                                      rela
  empty    rejected   true positive   gIoU 1, nothing to cIoU                   the same
  empty    drawn      false negative  gIoU 0, union += what was drawn           the same
  things   drawn      true negative   I / (U + 1e-8); I and U                   I / U, 0 where U is 0; I and U
  things   rejected   false positive  as if drawn: the decoded mask is scored   I = 0; union += U of the decoded mask

gsva: eval_gres in solver.py of LeapLabTHU/GSVA at 618dc79. Empty is a truth without a pixel. On Ref-ZOM a false negative adds
      nothing to the union. Its sums are rounded to float32 before they are divided; here, too, so ours are equal to the last bit.
      It reports no Pr@X; ours take the IoU of the decoded mask, too.
rela: gres_model/evaluation/refer_evaluation.py of henghuiding/ReLA at 3ca9551. Empty is a flag of the annotation; a truth may
      have lost its pixels (crowds are skipped there) and still count as one with things.
Both: N-acc = TP / (TP + FN), T-acc = TN / (TN + FP); Pr@X is of the expressions with things. All are shares, 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seglm.evaluation.scores.iou import Counts, share

Convention = Literal["gsva", "rela"]
THRESHOLDS = (0.7, 0.8, 0.9)
"""for Pr@X: the share of the expressions with things whose IoU is X or more"""
GSVA_IOU_EPS = 1e-8  # keeps I / U defined
GSVA_COUNT_EPS = 1e-5  # of the mean over expressions, as in LISA's meters
GSVA_CIOU_EPS = 1e-10
CONVENTIONS: Mapping[Convention, str] = {
    "gsva": "GSVA's: a rejected target still scores its decoded mask; a drawn empty one adds to the union (not on Ref-ZOM)",
    "rela": "ReLA's, the official one: a rejected target scores 0; a drawn empty one adds to the union",
}


@dataclass(frozen=True)
class Cells:
    """How many expressions fell in each case; positive means "there is nothing"."""

    true_positive: int
    """nothing there, rejected"""
    false_negative: int
    """nothing there, drawn"""
    true_negative: int
    """things there, drawn"""
    false_positive: int
    """things there, rejected"""

    @property
    def n_acc(self) -> float | None:
        """Share of the empty expressions that were rejected; None if there are none."""
        return share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def t_acc(self) -> float | None:
        """Share of the expressions with things that were drawn; None if there are none."""
        return share(self.true_negative, self.true_negative + self.false_positive)


@dataclass(frozen=True)
class Score:
    """Some expressions taken together, in one convention."""

    convention: Convention
    giou: float
    """mean over all expressions, 0 to 1"""
    ciou: float
    """summed intersections over summed unions, 0 to 1"""
    n_acc: float | None
    """see `Cells.n_acc`; rela reports 0 where there is no empty expression"""
    t_acc: float | None
    """see `Cells.t_acc`; rela reports 0 where there is no empty expression"""
    precision: tuple[float | None, ...]
    """Pr@ each of THRESHOLDS, 0 to 1; None if no expression has things"""
    n: int
    """number of expressions"""
    cells: Cells
    intersection: int
    """pixels, of all expressions"""
    union: int
    """pixels, of all expressions"""


def score(
    counts: Sequence[Counts],
    rejected: Sequence[bool],
    *,
    convention: Convention = "gsva",
    empty: Sequence[bool] | None = None,
    drawn_empty_adds: bool = True,
) -> Score:
    """All numbers of some expressions.

    rejected: for each expression whether the answer says that there is nothing; `counts` then is of the mask that was decoded all
    the same (an empty one where none was).
    empty: for each expression the annotation's own flag, for rela; by default a truth without a pixel is empty. gsva never looks.
    drawn_empty_adds: False on Ref-ZOM, where gsva leaves what was drawn for nothing out of the union.
    Raises ValueError if the sequences are not of one length.
    """
    flags = [one.is_empty for one in counts] if empty is None or convention == "gsva" else list(empty)
    if not len(counts) == len(rejected) == len(flags):
        raise ValueError(f"{len(counts)} counts, {len(rejected)} answers and {len(flags)} flags `empty`")
    cases = list(zip(counts, rejected, flags, strict=True))
    cells = Cells(
        true_positive=sum(no and flag for _, no, flag in cases),
        false_negative=sum(flag and not no for _, no, flag in cases),
        true_negative=sum(not no and not flag for _, no, flag in cases),
        false_positive=sum(no and not flag for _, no, flag in cases),
    )
    if convention == "gsva":
        return _gsva(cases, cells, drawn_empty_adds)
    return _rela(cases, cells)


def gsva_line(score: Score) -> str:
    """The four numbers as GSVA logs them."""
    accuracies = ((name, value) for name, value in (("N_acc", score.n_acc), ("T_acc", score.t_acc)))
    said = ", ".join(f"{name}: {'nan' if value is None else f'{value:.4f}'}" for name, value in accuracies)
    return f"giou: {score.giou:.4f}, ciou: {score.ciou:.4f}, {said}"


def rela_results(score: Score) -> dict[str, float]:
    """The numbers under ReLA's names and in its units: percent, but for the two accuracies."""
    ciou = score.intersection * 100.0 / score.union if score.union else 0.0
    named = {
        "gIoU": 100.0 * score.giou,
        "cIoU": ciou,
        "T_acc": score.t_acc or 0.0,
        "N_acc": score.n_acc or 0.0,
    }
    precision = zip(THRESHOLDS, score.precision, strict=True)
    return named | {f"Pr@{threshold}": 100.0 * (value or 0.0) for threshold, value in precision}


_Case = tuple[Counts, bool, bool]
"""pixels, rejected, empty"""


def _gsva(cases: Sequence[_Case], cells: Cells, drawn_empty_adds: bool) -> Score:
    pixels, terms, ious = [], [], []
    for one, is_rejected, is_empty in cases:
        if is_empty:
            terms.append(float(is_rejected))
            pixels.append((0, 0 if is_rejected or not drawn_empty_adds else one.union))
        else:
            ious.append(one.iou)
            terms.append(one.intersection / (one.union + GSVA_IOU_EPS))
            pixels.append((one.intersection, one.union))
    intersection, union = _sums(pixels)
    return Score(
        convention="gsva",
        giou=float(np.float32(math.fsum(terms)) / np.float32(len(terms) + GSVA_COUNT_EPS)),
        ciou=float(np.float32(intersection) / np.float32(np.float32(union) + GSVA_CIOU_EPS)),
        n_acc=cells.n_acc,
        t_acc=cells.t_acc,
        precision=_precision(ious),
        n=len(cases),
        cells=cells,
        intersection=intersection,
        union=union,
    )


def _rela(cases: Sequence[_Case], cells: Cells) -> Score:
    pixels, terms, ious = [], [], []
    for one, is_rejected, is_empty in cases:
        if is_empty:
            terms.append(float(is_rejected))
            pixels.append((0, 0 if is_rejected else one.union))
        else:
            hits = 0 if is_rejected else one.intersection
            ious.append(hits / one.union if one.union else 0.0)
            terms.append(ious[-1])
            pixels.append((hits, one.union))
    intersection, union = _sums(pixels)
    has_empty = cells.true_positive + cells.false_negative > 0
    return Score(
        convention="rela",
        giou=float(np.cumsum(terms)[-1]) / len(terms) if terms else 0.0,  # one after the other, as there
        ciou=intersection / union if union else 0.0,
        n_acc=cells.n_acc if has_empty else 0.0,
        t_acc=cells.t_acc if has_empty else 0.0,
        precision=_precision(ious),
        n=len(cases),
        cells=cells,
        intersection=intersection,
        union=union,
    )


def _sums(pixels: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Intersections and unions, each summed."""
    return sum(one for one, _ in pixels), sum(one for _, one in pixels)


def _precision(ious: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(share(sum(iou >= threshold for iou in ious), len(ious)) for threshold in THRESHOLDS)
