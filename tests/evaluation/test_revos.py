"""ReVOS' accuracy and robustness in their three readings, on masks one can count by hand, and against arithmetic in bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seglm.evaluation.scores.expressions import Asked
from seglm.evaluation.scores.revos import KINDS, NOT_THERE, REASONING, REFERRING, count, overall, score, track

ASKED = [Asked("v", "0", REFERRING), Asked("v", "1", REASONING), Asked("v", "2", NOT_THERE, True)]
COVER = np.array([[1, 1, 0, 0]], dtype=np.uint8)


def test_accuracy_and_robustness_of_masks_of_0_and_1() -> None:
    got = count(np.array([[True, False, True, False]]), COVER, foreground=2).accuracies
    assert got.a == 0.5
    assert got.r == pytest.approx(0.5, abs=1e-6)  # one false positive for two pixels of objects
    assert (got.legacy_a, got.legacy_r) == (0.25, 0)  # only the background; 255 false positives
    assert (got.sa2va_a, got.sa2va_r) == (got.a, got.r)


def test_the_readings_of_the_originals_are_arithmetic_in_bytes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask, cover = rng.random((6, 7)) < 0.4, rng.integers(0, 5, (6, 7), dtype=np.uint8)
        foreground = int(rng.integers(1, 20_000))
        got = count(mask, cover, foreground=foreground).accuracies
        for value, a, r in ((255, got.legacy_a, got.legacy_r), (1, got.sa2va_a, got.sa2va_r)):
            shown = mask.astype(np.uint8) * np.uint8(value)
            wrong = np.sum((np.uint8(1) - cover) * shown)
            assert a == np.mean(cover == shown)
            assert r == max(1 - wrong / (foreground + 1e-6), 0)


def test_types_are_averaged_apart_and_what_is_not_there_is_no_part_of_the_score() -> None:
    right, empty = COVER > 0, np.zeros_like(COVER)
    tracks = [
        track(ASKED[0], [count(right, COVER, foreground=2)]),
        track(ASKED[1], [count(empty > 0, COVER, foreground=2)]),
        track(ASKED[2], [count(empty > 0, empty, foreground=2)]),
    ]
    got = score(tracks, ASKED)
    assert (got.referring.jf, got.reasoning.jf, got.overall.jf) == (100, 0, 50)
    assert (got.overall.a, got.overall.r) == (75, 100)
    assert (got.n, got.num_empty, got.n_acc, got.t_acc, got.missing) == (2, 1, 1.0, 0.5, ())
    fewer = score(tracks[1:], ASKED)
    assert (fewer.overall.jf, fewer.overall.a, fewer.missing) == (0, 25, ("v/0",))
    assert score(tracks[:2], ASKED).n_acc == 0
    assert np.isnan(score([], ASKED[2:]).overall.jf)


def test_a_type_of_which_nothing_is_asked_does_not_halve_the_other() -> None:
    right = track(ASKED[0], [count(COVER > 0, COVER, foreground=2)])
    some = [ASKED[0], ASKED[2]]
    got = score([right], some)
    assert got.overall == got.referring and got.overall.jf == 100 and np.isnan(got.reasoning.jf)
    assert overall([right.track], some).jf == 1 and overall([], ASKED[2:]).jf == 0


def test_an_expression_s_percentages_have_two_decimals_before_they_are_averaged() -> None:
    third = track(
        ASKED[0],
        [count(np.array([[True]]), np.array([[one]], dtype=np.uint8), foreground=1) for one in (1, 0, 0)],
    )
    assert third.track.j == 1 / 3 and third.rounded.j == 33.33


def test_other_kinds_and_sizes_are_errors() -> None:
    with pytest.raises(
        ValueError, match="v/0 is of the kind 'motion'; its benchmark has referring, reasoning, none"
    ):
        score([], [replace(ASKED[0], kind="motion")])
    with pytest.raises(ValueError, match=r"cover is bool \(1, 4\)"):
        count(COVER > 0, COVER > 0, foreground=1)  # type: ignore[arg-type]
    assert KINDS.index(NOT_THERE) == 2
