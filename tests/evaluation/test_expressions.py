"""J&F of expressions: what is averaged, what is missing, and that it does not matter who counted first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seglm.evaluation.scores.expressions import Asked, Track, by_kind, score, track
from seglm.evaluation.scores.regions import FrameCounts, count_frame

ASKED = [
    Asked("b", "0", "motion"),
    Asked("b", "1", "motion"),
    Asked("a", "0", "looks"),
    Asked("a", "1", "looks", True),
]
GOOD = Track(ASKED[0], 1.0, 0.5, 3, True)
POOR = Track(ASKED[2], 0.25, 0.0, 3, True)
SILENT = Track(ASKED[3], 1.0, 1.0, 3, False)


def frame(j: tuple[int, int], f: tuple[int, int]) -> FrameCounts:
    """Counts of which J is the first ratio and F the second."""
    return FrameCounts(100, j[0], j[1], j[0], f[1], f[1], f[0], f[0])


def test_a_track_is_the_mean_over_its_frames_which_are_not_kept() -> None:
    got = track(ASKED[0], (frame((1, 2), (n, 4)) for n in range(4)))
    assert got == Track(ASKED[0], 0.5, 1.5 / 4, 4, True)
    nothing = np.zeros((4, 4), dtype=np.bool_)
    assert not track(ASKED[0], [count_frame(nothing, ~nothing)]).is_drawn
    with pytest.raises(ValueError, match="b/0: no frame to score"):
        track(ASKED[0], [])


def test_what_is_back_and_what_is_away_are_scored_apart() -> None:
    seen, away, drawn = frame((1, 2), (1, 4)), frame((0, 0), (0, 0)), FrameCounts(100, 0, 3, 0, 1, 0, 0, 0)
    good = frame((3, 4), (1, 4))
    got = track(ASKED[0], [away, seen, seen, drawn, away, good, seen, away])
    assert (got.behind, got.absent) == ((0.75 + 0.5) / 2, 0.75)
    late = track(ASKED[1], [away, seen, seen])  # it comes in, and was never seen before
    assert (late.behind, late.absent) == (None, 1.0)
    never = track(ASKED[3], [away, drawn])  # N-acc speaks of these
    assert (never.behind, never.absent) == (None, None)
    whole = score([got, late, never, POOR], ASKED)
    assert (whole.behind, whole.num_behind, whole.absent, whole.num_absent) == (0.625, 1, (0.75 + 1) / 2, 2)
    assert (score([POOR], ASKED).behind, score([POOR], ASKED).num_absent) == (None, 0)


def test_missing_predictions_score_nothing_or_are_left_out_and_are_listed_in_both_cases() -> None:
    every = score([GOOD, POOR], ASKED)
    assert (every.n, every.j, every.f, every.jf) == (4, 1.25 / 4, 0.5 / 4, 1.75 / 8)
    found = score([GOOD, POOR], ASKED, convention="found")
    assert (found.n, found.j, found.f) == (2, 1.25 / 2, 0.5 / 2)
    assert every.missing == found.missing == ("b/1", "a/1")
    assert (score([], ASKED).jf, score([], ASKED, convention="found").n) == (0, 0)


def test_expressions_that_mean_nothing_are_counted_apart_and_a_missing_one_is_no_rejection() -> None:
    got = score([GOOD, POOR, SILENT], ASKED)
    assert (got.num_empty, got.n_acc, got.t_acc) == (1, 1.0, 2 / 3)
    assert got.positives == (1.25 / 3 + 0.5 / 3) / 2
    assert score([GOOD], ASKED).n_acc == 0
    assert score([replace(SILENT, is_drawn=True)], ASKED).n_acc == 0
    assert score([GOOD, POOR], ASKED, convention="found").n_acc is None


def test_each_kind_has_its_score() -> None:
    got = by_kind([GOOD, POOR], ASKED)
    assert {kind: (one.n, one.j, one.missing) for kind, one in got.items()} == {
        "motion": (2, 0.5, ("b/1",)),
        "looks": (2, 0.125, ("a/1",)),
    }


def test_scores_do_not_depend_on_who_counted_first_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    asked = [Asked(f"v{number // 7}", str(number)) for number in range(300)]
    tracks = [Track(one, *map(float, rng.random(2)), 5, True) for one in asked[:290]]
    shuffled = [tracks[number] for number in rng.permutation(len(tracks))]
    assert score(tracks, asked) == score(shuffled, asked)


def test_a_track_that_is_there_twice_or_was_not_asked_is_an_error() -> None:
    with pytest.raises(ValueError, match="b/0 is scored twice"):
        score([GOOD, GOOD], ASKED)
    with pytest.raises(
        ValueError, match="c/0 is none of the 4 expressions that were asked, the first of which is b/0"
    ):
        score([replace(GOOD, asked=Asked("c", "0"))], ASKED)
