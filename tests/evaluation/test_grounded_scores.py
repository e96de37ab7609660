"""Scores of grounded captions by hand, and answers in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from seglm.evaluation.scores.answers import Asked, by_kind, plain
from seglm.evaluation.scores.answers import score as score_answers
from seglm.evaluation.scores.captions import Matched
from seglm.evaluation.scores.grounded import (
    Told,
    average_precision,
    iou_of,
    paired,
    score,
    word_likeness,
)


def run(rows: str) -> dict[str, Any]:
    """Run lengths of a mask drawn in rows, `##..|....`."""
    mask = np.array([[sign == "#" for sign in row] for row in rows.split("|")], np.uint8, order="F")
    return {"size": list(mask.shape), "counts": coco.encode(mask)["counts"].decode()}


LEFT, RIGHT, WIDE, NONE = (run(rows) for rows in ("##..|##..", "..##|..##", "###.|###.", "....|...."))
TRUE = Told("a", "a red ring and two dogs", ("a red ring", "two dogs"), (LEFT, RIGHT))


def test_pairs_are_one_to_one_and_the_largest_comes_first() -> None:
    """LEFT in WIDE: 4 of 6; RIGHT and WIDE share 2 of 8."""
    table = iou_of((WIDE, LEFT), (LEFT, RIGHT))
    assert table == pytest.approx(np.array([[4 / 6, 2 / 8], [1, 0]]))
    assert list(paired(table)) == [(1, 0, 1.0), (0, 1, pytest.approx(0.25))]
    assert iou_of((), (LEFT,)).shape == (0, 1) and not list(paired(iou_of((), (LEFT,))))


def test_a_perfect_answer_has_full_marks() -> None:
    other = Told("b", "three small stars", ("three small stars",), (WIDE,))
    found = score([TRUE, other], [TRUE, other], alike=word_likeness)
    assert (found.ap50, found.miou, found.recall, found.recall_released) == (pytest.approx(1), 1.0, 1.0, 1.0)
    assert (found.n, found.num_phrases) == (2, 3)
    assert found.cider == pytest.approx((10 + 7.5) / 2), "the second has no 4-gram"
    assert found.meteor == Matched(9, 0, 2, 9, 9).score, "two runs: of a corpus METEOR is below 1 even then"


def test_nothing_said_is_nothing() -> None:
    found = score([Told("a", "", (), ())], [TRUE], alike=word_likeness)
    assert (found.meteor, found.cider, found.ap50, found.miou, found.recall) == (0, 0, 0, 0, 0)


def test_miou_is_a_mean_over_pairs_and_then_over_pictures() -> None:
    told = [Told("a", "x", ("x",), (WIDE,)), Told("b", "x", (), ())]
    true = [TRUE, Told("b", "y", ("y",), (LEFT,))]
    assert score(told, true, alike=word_likeness).miou == pytest.approx((4 / 6 + 0) / 2)


def test_recall_goes_on_behind_a_pair_of_other_words_and_the_released_one_stops() -> None:
    """LEFT is called a blue star (IoU 1), RIGHT rightly two dogs (IoU 1, and comes second)."""
    told = Told("a", "x", ("a blue star", "two dogs"), (LEFT, RIGHT))
    found = score([told], [TRUE], alike=word_likeness)
    assert (found.recall, found.recall_released) == (0.5, 0.0)
    other = Told("a", "x", ("a red ring", "a blue star"), (LEFT, RIGHT))
    found = score([other], [TRUE], alike=word_likeness)
    assert (found.recall, found.recall_released) == (0.5, 0.5)


def test_a_second_mask_of_a_thing_may_be_the_one_that_is_rightly_called() -> None:
    told = Told("a", "x", ("a blue star", "a red ring"), (LEFT, WIDE))
    assert score([told], [TRUE], alike=word_likeness).recall == 0.5


def test_masks_without_a_phrase_are_counted_and_not_recalled() -> None:
    told = Told("a", "x", ("a red ring",), (LEFT, RIGHT))
    found = score([told], [TRUE], alike=word_likeness)
    assert found.recall == 0.5 and found.miou == 1.0 and found.ap50 == pytest.approx(1)


def test_ap_of_one_right_and_one_wrong_mask_in_two() -> None:
    """Two true masks; predicted: LEFT (right), WIDE again (its partner is taken: wrong). Precision 1 up to recall 1/2, then 0."""
    told = Told("a", "x", ("x", "x"), (LEFT, WIDE))
    assert average_precision([told], [TRUE]) == pytest.approx(51 / 101)
    assert average_precision([Told("a", "", (), (NONE,))], [TRUE]) == 0.0


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="captions of other pictures than the true ones: 'b' where 'a' is"):
        score([Told("b", "", (), ())], [TRUE], alike=word_likeness)
    with pytest.raises(ValueError, match="0 for 1"):
        score([], [TRUE], alike=word_likeness)


@pytest.mark.parametrize(
    "one, other, want",
    [
        ("a red ring", "the red rings", 1.0),
        ("red ring", "blue ring", 0.5),
        ("a ring", "a star", 0.0),
        ("", "a ring", 0.0),
    ],
)
def test_how_alike_phrases_are_by_their_stems(one: str, other: str, want: float) -> None:
    assert word_likeness(one, other) == want


# ---- answers --------------------------------------------------------------------------------------------------------
def test_an_answer_is_right_to_the_word_and_held_in_a_longer_one() -> None:
    asked = [
        Asked("1", "?", "It is red.", "it is  Red", "colour"),
        Asked("2", "?", "I think it is the red one", "red", "colour"),
        Asked("3", "?", "a ring", "The ring.", "shape"),
        Asked("4", "?", "redder", "red", "shape"),
        Asked("5", "?", "", "", "shape"),
    ]
    found = score_answers(asked)
    assert (found.n, found.accuracy, found.holds) == (5, 3 / 5, 4 / 5)
    kinds = by_kind(asked)
    assert list(kinds) == ["colour", "shape"] and kinds["colour"].accuracy == 0.5 and kinds["shape"].n == 3
    assert plain("It is the Red-ring.") == "it is red ring" and score_answers([]).accuracy == 0


def test_the_a_of_several_choices_is_a_word() -> None:
    asked = [
        Asked(str(number), "?", told, "A.") for number, told in enumerate(("a", "(A) red", "the", "", "B"))
    ]
    found = score_answers(asked)
    assert (found.accuracy, found.holds) == (1 / 5, 2 / 5)
