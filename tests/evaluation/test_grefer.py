"""Scores of expressions that may have no referent, on cases one can count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seglm.evaluation.scores.boxes import Boxes, box_of, generalised_iou, score_boxes
from seglm.evaluation.scores.grefer import Cells, gsva_line, rela_results, score
from seglm.evaluation.scores.iou import Counts

NOTHING = Counts(0, 0, 0, 0)  # nothing there, nothing drawn
ALARM = Counts(0, 8, 8, 0)  # nothing there, 8 pixels drawn
HALF = Counts(4, 8, 6, 6)
WHOLE = Counts(8, 8, 8, 8)


@pytest.mark.parametrize(
    "case, is_rejected, gsva, rela",
    [  # (gIoU, summed intersection, summed union)
        (NOTHING, True, (1, 0, 0), (1, 0, 0)),
        (ALARM, True, (1, 0, 0), (1, 0, 0)),  # the mask of a rejected answer is not looked at
        (ALARM, False, (0, 0, 8), (0, 0, 8)),
        (NOTHING, False, (0, 0, 0), (0, 0, 0)),  # an empty mask is no rejection
        (HALF, False, (0.5, 4, 8), (0.5, 4, 8)),
        (HALF, True, (0.5, 4, 8), (0, 0, 8)),  # where the two differ
    ],
)
def test_each_case_adds_what_its_convention_says(
    case: Counts, is_rejected: bool, gsva: tuple[float, ...], rela: tuple[float, ...]
) -> None:
    for convention, want in (("gsva", gsva), ("rela", rela)):
        got = score([case], [is_rejected], convention=convention)  # type: ignore[arg-type]
        assert (got.intersection, got.union) == want[1:], convention
        assert got.giou == pytest.approx(want[0], abs=2e-5)
        assert got.ciou == pytest.approx(want[1] / want[2] if want[2] else 0)


def test_on_refzom_gsva_leaves_what_was_drawn_for_nothing_out_of_the_union() -> None:
    counts, rejected = [ALARM, WHOLE], [False, False]
    assert score(counts, rejected).ciou == pytest.approx(0.5)
    on_refzom = score(counts, rejected, drawn_empty_adds=False)
    assert on_refzom.ciou == pytest.approx(1.0)
    assert on_refzom.giou == score(counts, rejected).giou == pytest.approx(0.5, abs=1e-5)


def test_accuracies_are_of_the_empty_and_of_the_others() -> None:
    counts = [NOTHING, ALARM, ALARM, HALF, HALF, WHOLE, WHOLE]
    got = score(counts, [True, True, False, True, False, False, False])
    assert got.cells == Cells(true_positive=2, false_negative=1, true_negative=3, false_positive=1)
    assert (got.n_acc, got.t_acc, got.n) == (2 / 3, 3 / 4, 7)


def test_precision_is_of_the_expressions_with_things_and_a_ratio_at_the_threshold_counts() -> None:
    counts = [Counts(7, 10, 8, 9), Counts(9, 10, 9, 10), NOTHING]
    rejected = [False, True, True]
    assert score(counts, rejected, convention="rela").precision == (0.5, 0, 0)
    assert score(counts, rejected, convention="gsva").precision[1:] == (0.5, 0.5)


def test_without_empty_expressions_gsva_has_no_n_acc_and_rela_says_0_for_both() -> None:
    assert (score([WHOLE], [False]).n_acc, score([WHOLE], [False]).t_acc) == (None, 1.0)
    assert score([NOTHING], [True]).precision == (None, None, None)
    by_rela = score([WHOLE], [False], convention="rela")
    assert (by_rela.n_acc, by_rela.t_acc) == (0.0, 0.0)


def test_rela_asks_the_annotation_whether_there_is_nothing() -> None:
    """A truth that lost its pixels (only a crowd was meant) has things by its flag: IoU 0, and the union grows."""
    by_pixels = score([ALARM], [True], convention="rela")
    by_flag = score([ALARM], [True], convention="rela", empty=[False])
    assert (by_pixels.giou, by_flag.giou, by_flag.union) == (1.0, 0.0, 8)
    assert score([ALARM], [True], empty=[False]) == score([ALARM], [True])  # GSVA counts pixels
    assert score([NOTHING], [False], convention="rela", empty=[False]).giou == 0.0


def test_no_expression_at_all_has_a_score() -> None:
    for convention in ("gsva", "rela"):
        got = score([], [], convention=convention)  # type: ignore[arg-type]
        assert (got.n, got.giou, got.ciou, got.n_acc or 0) == (0, 0, 0, 0)


def test_sequences_of_different_lengths_are_refused_with_the_lengths() -> None:
    with pytest.raises(ValueError, match="2 counts, 1 answers and 2 flags"):
        score([WHOLE, HALF], [False])
    with pytest.raises(ValueError, match="1 counts, 1 answers and 0 flags"):
        score([WHOLE], [False], convention="rela", empty=[])


def test_the_line_is_the_one_that_gsva_logs() -> None:
    got = score([HALF, WHOLE, NOTHING, ALARM], [False, False, True, False])
    assert gsva_line(got) == "giou: 0.6250, ciou: 0.5000, N_acc: 0.5000, T_acc: 1.0000"
    assert gsva_line(score([HALF], [False])) == "giou: 0.5000, ciou: 0.5000, N_acc: nan, T_acc: 1.0000"


def test_rela_s_results_are_percent_but_for_the_accuracies() -> None:
    got = rela_results(score([HALF, WHOLE, NOTHING], [False, False, True], convention="rela"))
    assert got == {
        "gIoU": pytest.approx(250 / 3),
        "cIoU": 75.0,
        "T_acc": 1.0,
        "N_acc": 1.0,
        "Pr@0.7": 50.0,
        "Pr@0.8": 50.0,
        "Pr@0.9": 50.0,
    }


def test_gsva_rounds_its_sums_to_single_precision_before_it_divides() -> None:
    """As its meters do when the processes join; 1 / 3 tells, and 2^24 + 1 that each count was added exactly."""
    assert score([Counts(1, 3, 1, 3)] * 3, [False] * 3).giou == float(np.float32(1) / np.float32(3.00001))
    large = Counts(0, 2**24, 2**24, 2**24)
    got = score([large, WHOLE, WHOLE, WHOLE], [False] * 4)
    assert (got.union, got.ciou) == (2**24 + 24, float(np.float32(24) / np.float32(2**24 + 24)))


def test_gsva_s_score_does_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(0)
    counts = [Counts(int(i), int(i + u), int(i + u), 1) for i, u in rng.integers(1, 10**6, (500, 2))]
    shuffled = [counts[number] for number in rng.permutation(len(counts))]
    assert score(counts, [False] * 500) == score(shuffled, [False] * 500)


# ---- boxes ----------------------------------------------------------------------------------------------------------
def boxes(*corners: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(corners, dtype=np.float32).reshape(-1, 4)


LEFT, RIGHT, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)


@pytest.mark.parametrize(
    "predicted, scores, target, is_right",
    [
        ([LEFT], [0.9], [LEFT], True),
        ([LEFT], [0.7], [LEFT], False),  # as a single-precision number it is 0.69999999
        ([LEFT], [0.69], [LEFT], False),
        ([LEFT, FAR], [0.9, 0.5], [LEFT], True),  # the other is no answer
        ([LEFT, FAR], [0.9, 0.8], [LEFT], False),
        ([RIGHT, LEFT], [0.9, 0.8], [LEFT, RIGHT], True),  # in any order
        ([LEFT, LEFT], [0.9, 0.8], [LEFT, RIGHT], False),  # each box once
        ([(0, 0, 10, 5)], [0.9], [LEFT], True),  # IoU and GIoU are exactly 0.5
        ([(0, 0, 10, 4)], [0.9], [LEFT], False),
        ([(2, 2, 12, 12)], [0.9], [LEFT], False),  # IoU 0.47
        ([], [], [], True),
        ([LEFT], [0.9], [], False),
        ([LEFT], [0.2], [], True),
        ([], [], [LEFT], False),
    ],
)
def test_an_expression_is_right_if_all_its_boxes_are(
    predicted: list[tuple[float, ...]], scores: list[float], target: list[tuple[float, ...]], is_right: bool
) -> None:
    got = score_boxes([Boxes(boxes(*predicted), scores, boxes(*target))])
    assert got.f1 == float(is_right)


def test_a_box_that_reaches_beyond_is_judged_by_the_generalised_iou() -> None:
    """Of the 13 x 13 round two squares of 10 x 10 that share 7 x 7, the two corners that neither covers count against it."""
    shifted = boxes((3, 3, 13, 13))
    iou = 49 / 151
    assert generalised_iou(boxes(LEFT), shifted)[0, 0] == pytest.approx(iou - (169 - 151) / 169, abs=1e-6)
    assert generalised_iou(boxes(LEFT), boxes(RIGHT))[0, 0] == pytest.approx(-1 / 3, abs=1e-6)


def test_box_accuracies_are_of_the_empty_and_of_the_others() -> None:
    hit, miss = Boxes(boxes(LEFT), [0.9], boxes(LEFT)), Boxes(boxes(), [], boxes(LEFT))
    alarm, quiet = Boxes(boxes(LEFT), [0.9], boxes()), Boxes(boxes(), [], boxes())
    got = score_boxes([hit, miss, alarm, quiet, quiet])
    assert (got.f1, got.n_acc, got.t_acc, got.n) == (3 / 5, 2 / 3, 1 / 2, 5)
    assert (score_boxes([]).f1, score_boxes([]).n_acc, score_boxes([]).t_acc) == (0.0, None, None)


def test_the_box_of_a_mask_is_half_open_and_an_empty_mask_has_none() -> None:
    mask = np.zeros((5, 7), dtype=np.bool_)
    assert box_of(mask).shape == (0, 4)
    mask[1:3, 2:6] = True
    assert box_of(mask).tolist() == [[2, 1, 6, 3]]
