"""J and F on masks one can count by hand, and bit by bit against the plain form on many that nobody would draw."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.plain_jf import contour, contours, regions
from seglm.evaluation.scores.regions import FrameCounts, count_frame, tolerance

Mask = NDArray[np.bool_]


def mask(*rows: str) -> Mask:
    return np.array([[character == "#" for character in row] for row in rows], dtype=np.bool_)


SQUARE = mask(
    "......",
    "..##..",
    "..##..",
    "......",
)
RING = mask(
    ".###..",
    ".#.#..",
    ".###..",
    "......",
)
"""SQUARE's contour: it lies half a pixel up and left"""
EMPTY, FULL = np.zeros_like(SQUARE), np.ones_like(SQUARE)


def test_a_contour_lies_where_the_east_south_or_south_east_neighbour_differs() -> None:
    np.testing.assert_array_equal(contour(SQUARE), RING)
    got = count_frame(SQUARE, SQUARE)
    assert (got.predicted_contour, got.target_contour) == (8, 8)


@pytest.mark.parametrize(
    "prediction, target, j, f",
    [
        (SQUARE, SQUARE, 1.0, 1.0),
        (EMPTY, EMPTY, 1.0, 1.0),
        (SQUARE, EMPTY, 0.0, 0.0),
        (EMPTY, SQUARE, 0.0, 0.0),
        (FULL, EMPTY, 0.0, 1.0),  # a full mask has no contour
        (FULL, SQUARE, 4 / 24, 0.0),
    ],
)
def test_j_and_f_of_empty_and_full_masks(prediction: Mask, target: Mask, j: float, f: float) -> None:
    got = count_frame(prediction, target)
    assert (got.j, got.f) == (j, f)


def test_f_counts_what_lies_within_the_radius_and_no_further() -> None:
    one, other = np.zeros((21, 21), dtype=np.bool_), np.zeros((21, 21), dtype=np.bool_)
    one[5:8, 5:8], other[5:8, 9:12] = True, True  # contours side by side, four columns wide
    got = [count_frame(one, other, radius=radius) for radius in (1, 4)]
    assert [(found.j, found.predicted_near, found.target_near) for found in got] == [(0, 4, 4), (0, 12, 12)]


@pytest.mark.parametrize(
    "size, pixels", [((480, 854), 8), ((720, 1280), 12), ((1080, 1920), 18), ((1, 1), 1)]
)
def test_the_radius_grows_with_the_diagonal(size: tuple[int, int], pixels: int) -> None:
    assert tolerance(size) == pixels


def test_ignored_pixels_belong_to_neither_mask() -> None:
    ignore = np.zeros_like(SQUARE)
    ignore[:, 3:] = True
    got = count_frame(FULL, SQUARE, ignore=ignore)
    assert (got.intersection, got.predicted, got.target) == (2, 12, 2)


def random_mask(rng: np.random.Generator, size: tuple[int, int]) -> Mask:
    """A mask of a kind drawn at random: nothing, noise, a pixel, a box (may be thin), a line, blobs; or all but that."""
    height, width = size
    drawn = np.zeros(size, dtype=np.bool_)
    kind = rng.integers(7)
    if kind == 1:
        drawn = rng.random(size) < rng.random()
    elif kind == 2:
        drawn[rng.integers(height), rng.integers(width)] = True
    elif kind == 3:
        top, bottom = sorted(rng.integers(0, height + 1, 2))
        left, right = sorted(rng.integers(0, width + 1, 2))
        drawn[top:bottom, left:right] = True
    elif kind == 4:
        drawn[rng.integers(height)] = True
    elif kind == 5:
        drawn[:, rng.integers(width)] = True
    elif kind == 6:
        drawn = cv2.GaussianBlur(rng.random(size).astype(np.float32), (0, 0), 2) > 0.5
    return ~drawn if rng.random() < 0.3 else drawn


@pytest.mark.parametrize("seed", range(8))
def test_counts_equal_the_plain_form_s_to_the_last_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(150):
        height, width = (int(side) for side in rng.integers(1, rng.choice([2, 12, 70, 160]), 2))
        size = ((height, width), (1, width), (height, 1))[rng.choice(3, p=(0.8, 0.1, 0.1))]
        shown, truth, ignore = (random_mask(rng, size) for _ in range(3))
        radius = int(rng.integers(1, rng.choice([3, 10, 40])))
        void = ignore if rng.random() < 0.3 else None
        got = count_frame(shown, truth, ignore=void, radius=radius)
        where = (size, radius, void is None)
        assert got.j == regions(truth[None], shown[None], void)[0], where
        assert got.f == contours(truth, shown, void, near=radius), where
        turned = [None if one is None else np.asfortranarray(one) for one in (shown, truth, void)]
        assert count_frame(turned[0], turned[1], ignore=turned[2], radius=radius) == got, where  # type: ignore[arg-type]


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="target is uint8"):
        count_frame(SQUARE, SQUARE.astype(np.uint8))  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"target is bool \(4, 5\); masks are bool and all of one shape, here \(4, 6\)"
    ):
        count_frame(SQUARE, SQUARE[:, :5])
    with pytest.raises(ValueError, match="one pixel or more"):
        count_frame(SQUARE[:0], SQUARE[:0])
    with pytest.raises(ValueError, match="one pixel or more"):
        count_frame(SQUARE[None], SQUARE[None])
    with pytest.raises(ValueError, match="radius 0"):
        count_frame(SQUARE, SQUARE, radius=0)


def test_counts_are_whole_numbers_of_python() -> None:
    got = count_frame(SQUARE, RING)
    assert all(type(getattr(got, name)) is int for name in FrameCounts.__slots__)
