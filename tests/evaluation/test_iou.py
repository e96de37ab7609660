"""The metric on masks one can count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seglm.evaluation.scores.iou import Counts, ciou, count, giou, precision_at, score


def mask(*rows: str) -> NDArray[np.bool_]:
    return np.array([[character == "#" for character in row] for row in rows], dtype=np.bool_)


@pytest.mark.parametrize(
    "prediction, target, ignore, want",
    [
        ("##..", ".##.", "....", (1, 3, 2, 2)),
        ("##..", ".##.", "#...", (1, 2, 1, 2)),  # a prediction on an ignored pixel counts for nothing
        ("##..", ".##.", ".#..", (0, 2, 1, 1)),  # nor does a hit there
        ("....", "....", "....", (0, 0, 0, 0)),
        ("#...", "....", "....", (0, 1, 1, 0)),
        ("....", "#...", "#...", (0, 0, 0, 0)),  # nothing left but ignored pixels: an empty target
    ],
)
def test_counts_leave_ignored_pixels_out(
    prediction: str, target: str, ignore: str, want: tuple[int, ...]
) -> None:
    assert count(mask(prediction), mask(target), ignore=mask(ignore)) == Counts(*want)


def test_masks_of_0_and_255_are_refused() -> None:
    grey = np.array([[0, 255]], dtype=np.uint8)
    with pytest.raises(ValueError, match="prediction is uint8"):
        count(grey, mask("#."))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="all of one shape"):
        count(mask("#."), mask("#"))


ONE, HALF, NONE = Counts(4, 4, 4, 4), Counts(2, 4, 3, 3), Counts(0, 5, 5, 0)
BOTH_EMPTY = Counts(0, 0, 0, 0)


@pytest.mark.parametrize(
    "counts, mean, overall",
    [
        ([ONE, HALF], 0.75, 6 / 8),
        ([ONE, NONE], 0.5, 4 / 9),  # an empty target that got a mask: IoU 0, and the union grows
        ([ONE, BOTH_EMPTY], 1.0, 1.0),  # nothing to find and nothing drawn is right
    ],
)
def test_giou_is_a_mean_and_ciou_a_ratio_of_sums(counts: list[Counts], mean: float, overall: float) -> None:
    assert giou(counts, "plain") == mean
    assert ciou(counts, "plain") == overall
    assert giou(counts) == pytest.approx(mean, abs=2e-5)
    assert ciou(counts) == pytest.approx(overall, abs=1e-9)


def test_scores_do_not_depend_on_the_order_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    counts = [Counts(int(i), int(i + u), 0, 1) for i, u in rng.integers(1, 10**6, (500, 2))]
    shuffled = [counts[number] for number in rng.permutation(len(counts))]
    assert giou(counts) == giou(shuffled) and giou(counts, "plain") == giou(shuffled, "plain")
    assert ciou(counts) == ciou(shuffled)


def test_an_iou_that_equals_the_threshold_counts() -> None:
    counts = [Counts(7, 10, 8, 9), Counts(6, 10, 8, 8)]
    assert precision_at(counts, 0.7) == 0.5
    assert precision_at(counts, 0.6) == 1.0


def test_empty_targets_are_counted_apart() -> None:
    got = score([ONE, NONE, BOTH_EMPTY], [True, True, False])
    assert (got.n, got.num_empty, got.n_acc) == (3, 2, 0.5)
    assert got.emission == pytest.approx(2 / 3)
    assert score([ONE], None).emission is None and score([ONE], None).n_acc is None
    assert (
        got.t_acc == 1
        and got.positives == pytest.approx(1, abs=2e-5)
        and got.giou == pytest.approx(2 / 3, abs=1e-5)
    )
    assert score([BOTH_EMPTY], None).t_acc is None and score([BOTH_EMPTY], None).positives is None


def test_a_rejection_is_what_the_answer_says_and_the_masks_are_scored_as_they_are() -> None:
    got = score([ONE, HALF, NONE], None, rejected=[False, True, True], convention="plain")
    assert (got.n_acc, got.t_acc, got.giou, got.positives) == (1.0, 0.5, 0.5, 0.75)
    with pytest.raises(ValueError, match="2 counts, but 1 answers"):
        score([ONE, HALF], None, rejected=[True])
