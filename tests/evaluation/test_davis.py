"""DAVIS-2017's rules on frames one can count by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from seglm.evaluation.scores import ref_davis17
from seglm.evaluation.scores.davis import (
    VOID,
    Score,
    Statistics,
    VideoScore,
    num_objects,
    score,
    semi_supervised,
    statistics,
    unsupervised,
)


def frame(*rows: str) -> NDArray[np.uint8]:
    """`.` is background, `x` void, a digit an object."""
    return np.array(
        [[{".": 0, "x": VOID}.get(one, ord(one) - ord("0")) for one in row] for row in rows], dtype=np.uint8
    )


TRUTH = frame("11..22", "11..22", "......")
SWAPPED = frame("22..11", "22..11", "......")
NOTHING = np.zeros_like(TRUTH)
WITH_VOID = frame("11xx22", "11xx22", "......")


def j_of(video: VideoScore) -> list[float]:
    return [one.j.mean for one in video.objects]


@pytest.mark.parametrize(
    "values, want",
    [
        ([0.5, 1.0], (0.75, 0.5, -0.5)),  # exactly 0.5 is not recalled
        ([1.0] * 4 + [0.0] * 4, (0.5, 0.5, 1.0)),
        ([0.2], (0.2, 0.0, 0.0)),
    ],
)
def test_statistics_are_mean_recall_and_decay(values: list[float], want: tuple[float, ...]) -> None:
    got = statistics(values)
    assert (got.mean, got.recall, got.decay) == pytest.approx(want)


def test_the_first_frame_says_how_many_objects_there_are() -> None:
    assert (num_objects(TRUTH), num_objects(WITH_VOID), num_objects(NOTHING)) == (2, 2, 0)


def test_semi_supervised_goes_by_numbers_and_takes_void_for_background() -> None:
    assert j_of(semi_supervised("v", [(TRUTH, TRUTH), (SWAPPED, TRUTH)], objects=2)) == [0.5, 0.5]
    wide = frame("111...", "111...", "......")
    assert j_of(semi_supervised("v", [(wide, WITH_VOID)], objects=2)) == [4 / 6, 0.0]


def test_a_number_that_no_object_has_is_an_error_of_semi_supervised_alone() -> None:
    with pytest.raises(
        ValueError, match="v: scored frame 1 has a mask of the number 3, the video has 2 objects"
    ):
        semi_supervised("v", [(TRUTH, TRUTH), (frame("3.....", "......", "......"), TRUTH)], objects=2)


def test_unsupervised_finds_the_best_pairs_over_the_whole_video_and_leaves_void_out() -> None:
    pytest.importorskip("scipy", reason="matching needs SciPy, which requirements.txt lists")
    assert j_of(unsupervised("v", [(SWAPPED, TRUTH)] * 3, objects=2)) == [1.0, 1.0]
    assert sorted(j_of(unsupervised("v", [(SWAPPED, TRUTH), (TRUTH, TRUTH), (TRUTH, TRUTH)], objects=2))) == [
        2 / 3,
        2 / 3,
    ]
    wide = frame("1111..", "1111..", "......")
    assert j_of(unsupervised("v", [(wide, WITH_VOID)], objects=2)) == [1.0, 0.0]


def test_a_proposal_that_is_not_in_a_frame_is_empty_there() -> None:
    pytest.importorskip("scipy", reason="matching needs SciPy, which requirements.txt lists")
    late = frame("......", "......", "......"), frame("......", "......", "......")
    got = unsupervised(
        "v", [late, (frame("5.....", "......", "......"), frame("1.....", "......", "......"))], objects=1
    )
    assert j_of(got) == [1.0]  # nothing where nothing is, then the pixel


def test_more_proposals_than_davis_permits_are_an_error() -> None:
    many = np.arange(18, dtype=np.uint8).reshape(3, 6) + 4
    with pytest.raises(ValueError, match="v has a proposal of the number 21; DAVIS permits 20 in a video"):
        unsupervised("v", [(many, TRUTH)], objects=2)


@pytest.mark.parametrize("run", [semi_supervised, unsupervised])
def test_frames_of_other_sizes_and_types_are_errors_that_name_the_frame(run: object) -> None:
    assert callable(run)
    with pytest.raises(
        ValueError, match=r"v: the prediction of scored frame 1 is uint8 \(3, 5\); .* \(3, 6\)"
    ):
        run("v", [(TRUTH, TRUTH), (TRUTH[:, :5], TRUTH)], objects=2)
    with pytest.raises(ValueError, match="v: the prediction of scored frame 0 is int64"):
        run("v", [(TRUTH.astype(np.int64), TRUTH)], objects=2)
    with pytest.raises(ValueError, match="v: no frame to score"):
        run("v", [], objects=2)


def test_a_score_is_the_mean_over_objects_in_the_order_of_the_list() -> None:
    one = semi_supervised("one", [(TRUTH, TRUTH)], objects=2)
    two = semi_supervised("two", [(NOTHING, TRUTH)], objects=1)
    got = score([two, one], ["one", "two"])
    assert (got.n, got.j.mean, got.f.mean, got.jf) == (3, 2 / 3, 2 / 3, 2 / 3)
    for videos, says in (
        ([one], "no prediction for 1 of 2 videos: two"),
        ([one, one, two], "one is scored twice"),
    ):
        with pytest.raises(ValueError, match=says):
            score(videos, ["one", "two"])
    with pytest.raises(ValueError, match="two is none of the 1 videos"):
        score([one, two], ["one"])
    with pytest.raises(ValueError, match="1 videos without an object"):
        score([replace(one, objects=())], ["one"])


def test_objects_compete_for_pixels_and_the_first_wins_what_two_want_alike() -> None:
    left, right = frame("111...", "......") > 0, frame("..11..", "......") > 0
    np.testing.assert_array_equal(ref_davis17.merge([left, right]), frame("1112..", "......"))
    likely = [np.array([[0.6, 0.49, 0.7]]), np.array([[0.9, 0.2, 0.7]])]
    np.testing.assert_array_equal(ref_davis17.merge(likely), np.array([[2, 0, 1]]))
    assert ref_davis17.object_and_annotation(9) == (2, 1)
    for wrong, says in (([], "0 objects to merge"), ([left, right[:, :3]], "cannot be merged")):
        with pytest.raises(ValueError, match=says):
            ref_davis17.merge(wrong)


def test_the_official_protocol_is_the_mean_of_four_annotations() -> None:
    parts = [Score(*[Statistics(value, value, value)] * 2, value, 5) for value in (0.1, 0.2, 0.3, 0.4)]
    got = ref_davis17.score(parts)
    assert (got.jf, got.j.recall, got.n) == pytest.approx((0.25, 0.25, 5))
    with pytest.raises(ValueError, match=r"3 scores of \[5, 5, 5\] objects; Ref-DAVIS17 has 4"):
        ref_davis17.score(parts[:3])
