"""Masks from polygons, run lengths and ReasonSeg's shapes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from seglm.dataset.masks import decode, outlines, paint

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
    ],
)
def test_a_malformed_segmentation_is_an_error_that_says_how(segmentation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(segmentation, SIZE)


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
