"""Masks from polygons, run lengths and ReasonSeg's shapes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from seglm.dataset.masks import decode, outlines, paint, runs_of

SIZE = (4, 6)


def box(left: int, top: int, right: int, bottom: int) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def rows(mask: Any) -> list[str]:
    return ["".join(".#"[int(value)] for value in row) for row in mask]


def lengths(lines: list[str], *, as_text: bool = True) -> dict[str, Any]:
    mask = np.asfortranarray([[char == "#" for char in line] for line in lines], dtype=np.uint8)
    coded = coco.encode(mask)
    return {"size": list(mask.shape), "counts": coded["counts"].decode() if as_text else coded["counts"]}


SQUARE = ["......", ".##...", ".##...", "......"]


@pytest.mark.parametrize(
    "segmentation, want",
    [
        ([], ["......"] * 4),
        ([box(1, 1, 3, 3)], SQUARE),
        ([box(1, 1, 3, 3), box(2, 1, 4, 3)], ["......", ".###..", ".###..", "......"]),  # overlap stays one
        ([box(1, 1, 3, 3), [5, 0, 5, 1]], SQUARE),  # two points enclose nothing, and are no box
        ([[[1, 1], [3, 1], [3, 3], [1, 3]]], SQUARE),  # as points
        ([[[1, 1], [3, 1], [3, 3], [1, 3]], box(2, 1, 4, 3)], ["......", ".###..", ".###..", "......"]),
        (lengths(SQUARE), SQUARE),
        (lengths(SQUARE, as_text=False), SQUARE),
        ({"size": [4, 6], "counts": [5, 2, 2, 2, 13]}, SQUARE),
        ([lengths(SQUARE), lengths(["#....."] + ["......"] * 3)], ["#.....", *SQUARE[1:]]),  # refCLEF's form
    ],
)
def test_a_mask_is_true_where_any_part_is(segmentation: Any, want: list[str]) -> None:
    before = copy.deepcopy(segmentation)
    mask = decode(segmentation, SIZE)
    assert (mask.dtype, mask.shape, rows(mask)) == (np.bool_, SIZE, want)
    assert segmentation == before, "the annotation was changed in place"


@pytest.mark.parametrize(
    "segmentation, message",
    [
        ([[1, 1, 3, 1, 3, 3, 1]], "7 numbers"),
        (lengths(["......"] * 3), "3 x 6 in an image of 4 x 6"),
        ({"size": [4, 6], "counts": [5, 2]}, "add up to 7 pixels"),
        ({"size": [4, 6]}, "polygons or run lengths"),
        (["polygon"], "polygons or run lengths"),
        ({"size": [4, 6], "counts": "9"}, "add up to 9 pixels"),  # pycocotools left the rest to chance
        ({"size": [4, 6], "counts": b"9"}, "add up to 9 pixels"),
        ({"size": [4, 6], "counts": "9\n"}, "no run length of COCO"),
        ([[1, 1, 3, 1, 3, float("nan")]], "no place near a picture of 4 x 6"),  # pycocotools ran for ever
        ([[1, 1, 3, 1, 3, 1e9]], r"\(3, 1000000000.0\) is no place near"),
        ([[1, 1, 3, 1, 3, "3"]], "hold '3', permitted are numbers"),
        ([[[1, 1], [3, 1], [3]]], r"each is \[x, y\]"),
    ],
)
def test_a_malformed_segmentation_is_an_error_that_says_how(segmentation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(segmentation, SIZE)


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (96, 128), (480, 640)])
def test_the_lengths_of_cocos_string_are_those_of_pycocotools(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size)
    for share in (0, 0.001, 0.5, 0.97, 1):
        mask = np.asfortranarray(rng.random(size) < share, dtype=np.uint8)
        runs = runs_of(coco.encode(mask)["counts"])
        assert sum(runs) == mask.size and sum(runs[1::2]) == mask.sum()
        assert [run for run in runs if run] == _runs(mask)


def _runs(mask: Any) -> list[int]:
    """Lengths of equal pixels down the columns."""
    pixels = mask.reshape(-1, order="F")
    ends = np.flatnonzero(np.diff(pixels)) + 1
    return [int(length) for length in np.diff(np.concatenate([[0], ends, [len(pixels)]]))]


def shape(label: str, left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    return {"label": label, "points": [[left, top], [right, top], [right, bottom], [left, bottom]]}


@pytest.mark.parametrize(
    "shapes, want",
    [
        ([], ["......"] * 4),
        ([shape("target", 1, 1, 2, 2)], SQUARE),
        ([shape("target", 1.9, 1.9, 2.9, 2.9)], SQUARE),  # points are cut to whole pixels, not rounded
        (
            [shape("Ignored region", 2, 1, 3, 2), shape("target", 0, 0, 5, 3)],
            ["######", "##oo##", "##oo##", "######"],
        ),
        (
            [shape("target", 1, 1, 2, 2), shape("ignore", 0, 0, 5, 3)],
            ["oooooo", "o##ooo", "o##ooo", "oooooo"],
        ),
        ([shape("flag", 0, 0, 5, 3), shape("target", 1, 1, 2, 2)], SQUARE),
        ([shape("target", -9, 1, 0, 2)], ["......", "#.....", "#.....", "......"]),
    ],
)
def test_shapes_are_painted_from_the_largest_to_the_smallest(
    shapes: list[dict[str, Any]], want: list[str]
) -> None:
    painted = paint(outlines(shapes, SIZE), SIZE)
    assert ["".join({0: ".", 1: "#", 255: "o"}[value] for value in row) for row in painted.tolist()] == want


@pytest.mark.parametrize(
    "kind, points, pixels",
    [
        ("polygon", [[10, 10], [50, 10], [50, 40], [10, 40]], 41 * 31),
        ("rectangle", [[10, 10], [50, 40]], 41 * 31),
        ("rectangle", [[50, 10], [10, 40]], 41 * 31),  # any two corners that are opposite
        ("rectangle", [[10, 10], [50, 10], [50, 40], [10, 40]], 41 * 31),  # or all four
        ("oriented_rectangle", [[10, 10], [50, 10], [50, 40], [10, 40]], 41 * 31),
        ("circle", [[40, 30], [40, 20]], 346),  # pi 10.5 ** 2: half a pixel larger, as every shape
    ],
)
def test_a_shape_is_drawn_as_what_it_says_it_is(kind: str, points: Any, pixels: int) -> None:
    painted = paint(outlines([{"label": "a", "shape_type": kind, "points": points}], (60, 80)), (60, 80))
    assert abs(int(painted.sum()) - pixels) <= (kind == "circle") * 12  # its border is drawn by OpenCV


@pytest.mark.parametrize("points", [[[0.1, 0.1], [0.8, 0.1], [0.8, 0.9]], [[0, 0], [1, 0], [1, 1]]])
def test_points_in_shares_of_the_sides_are_refused_and_not_drawn_as_a_pixel(points: Any) -> None:
    with pytest.raises(
        ValueError, match="shape 0: .*all between 0 and 1.*write pixels: x times 80, y times 60"
    ):
        outlines([{"label": "a", "points": points}], (60, 80))


@pytest.mark.parametrize("kind", ["line", "linestrip", "point", "points", "mask", "Polygon", None, 3])
def test_a_shape_without_an_area_is_refused_by_its_name(kind: Any) -> None:
    with pytest.raises(
        ValueError, match=f"shape 0: `shape_type` is {kind!r}.*permitted are polygon, oriented"
    ):
        outlines([{"label": "a", "shape_type": kind, "points": [[1, 1], [9, 1], [9, 9]]}], (60, 80))
