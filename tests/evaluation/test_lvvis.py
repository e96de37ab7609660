"""Average precision through videos, on tubes one can count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from seglm.evaluation.scores.lvvis import Cell, Tube, cell, overlap, run_lengths, score


def tube(*frames: str, score: float = 1.0, is_crowd: bool = False) -> Tube:
    """Each frame is a row of pixels, `#` on the object; an empty text is a frame in which it is not seen."""
    masks = [
        coco.encode(np.asfortranarray([[one == "#" for one in row]], dtype=np.uint8)) if row else None
        for row in frames
    ]
    return Tube(masks, score, is_crowd)


TRUE = tube("##..", "##..", "")
HALF = tube("#...", "##..", "", score=0.9)
WRONG = tube("...#", "...#", "...#", score=0.5)


def test_tubes_overlap_by_their_sums_over_all_frames() -> None:
    assert overlap(HALF, TRUE) == 3 / 4
    assert overlap(WRONG, TRUE) == 0 and overlap(tube("", ""), tube("", "")) == 0
    assert (
        overlap(tube("##..", "####"), tube("##..")) == 1
    )  # frames beyond the shorter one's end do not count


def test_an_area_is_the_mean_over_frames_in_which_there_is_something() -> None:
    assert (TRUE.area, HALF.area, tube("", "....").area) == (2, 1.5, 0)


def test_precision_is_the_share_of_thresholds_that_the_overlap_reaches() -> None:
    got = score([cell(1, 7, [HALF], [TRUE])], base={7: True, 8: False})
    assert got.precision["AP"].all == pytest.approx(0.6)  # 0.5 to 0.75
    assert (got.precision["AP50"].all, got.precision["AP75"].all) == pytest.approx((1, 1))
    assert got.precision["AP"].base == got.precision["AP"].all and got.precision["AP"].novel is None
    assert (got.recall["AR1"].all, got.recall["ARs"].all, got.recall["ARl"].all) == pytest.approx(
        (0.6, 0.6, None)
    )
    assert got.categories == {7: got.precision["AP"].all, 8: None}


def test_a_sure_mistake_costs_more_than_an_unsure_one() -> None:
    sure = tube("...#", score=0.99)
    before, behind = (score([cell(1, 7, [HALF, one], [TRUE])], base={7: True}) for one in (sure, WRONG))
    assert before.precision["AP50"].all == pytest.approx(0.5) and behind.precision[
        "AP50"
    ].all == pytest.approx(1)


def test_a_crowd_is_an_object_that_may_be_found_often_or_nothing_at_all() -> None:
    crowd = tube("##..", "##..", is_crowd=True)
    cells = [cell(1, 7, [tube("##..", "##..", score=one) for one in (0.9, 0.8)], [crowd])]
    assert score(cells, base={7: True}).precision["AP"].all == pytest.approx(1)
    assert score(cells, base={7: True}, convention="youtube_vis").precision["AP"].all is None
    twice = [cell(1, 7, [tube("##..", "##..", score=one) for one in (0.9, 0.8)], [tube("##..", "##..")])]
    assert score(twice, base={7: True}).recall["AR100"].all == 1


def test_cells_may_come_in_any_order() -> None:
    rng = np.random.default_rng(0)
    cells = [
        Cell(
            video,
            category,
            (0.9, 0.9),
            (3.0, 4.0),
            (3.0,),
            (False,),
            tuple((float(one),) for one in rng.random(2)),
        )
        for video in range(9)
        for category in (1, 2)
    ]
    shuffled = [cells[number] for number in rng.permutation(len(cells))]
    assert score(cells, base={1: True, 2: False}) == score(shuffled, base={1: True, 2: False})


def test_what_a_file_may_hold_becomes_run_lengths() -> None:
    square, size = [[1, 1, 3, 1, 3, 3, 1, 3]], (4, 4)
    plain = {"size": [2, 3], "counts": [2, 2, 2]}
    assert run_lengths(None, size) is None
    assert coco.area(run_lengths(square, size)) == 4
    assert coco.area(run_lengths(plain, (2, 3))) == 2
    assert run_lengths(TRUE.masks[0], (1, 4)) is TRUE.masks[0]


def test_other_categories_repeated_cells_and_several_sizes_are_errors() -> None:
    one = cell(1, 7, [HALF], [TRUE])
    with pytest.raises(ValueError, match="category 7 is none of the 1 categories"):
        score([one], base={8: True})
    with pytest.raises(ValueError, match="video 1, category 7 is there twice"):
        score([one, one], base={7: True})
    with pytest.raises(
        ValueError, match=r"video 1, category 7: masks of frame 0 have the sizes \[\(1, 3\), \(1, 4\)\]"
    ):
        cell(1, 7, [tube("###")], [TRUE])
