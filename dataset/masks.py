"""Masks from what annotations hold: polygons and run lengths as COCO has them, shapes as ReasonSeg has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

Mask = NDArray[np.bool_]

MIN_NUMBERS = (
    6  # of a polygon: three points; fewer enclose nothing, and four would be taken for a box by pycocotools
)
TARGET, IGNORE = 1, 255


def decode(segmentation: Any, size: tuple[int, int]) -> Mask:
    """bool [H, W]: the union of all parts of one COCO annotation.

    segmentation: a list of polygons [x0, y0, x1, y1, ...], one run length dict (counts a list, str or bytes), or a list of such
    dicts, as refCLEF has them. Nothing in it is changed.
    Raises ValueError if it is none of these or of another size.
    Released LISA adds the parts instead (refer_seg_dataset.py:247 at 3cb2d43), which gives 2 where they overlap.
    """
    parts = segmentation if isinstance(segmentation, list) else [segmentation]
    polygons = [part for part in parts if isinstance(part, list)]
    lengths = [_run_lengths(part, size) for part in parts if not isinstance(part, list)]
    if polygons:
        lengths += _filled(polygons, size)
    if not lengths:
        return np.zeros(size, dtype=np.bool_)
    decoded: NDArray[np.uint8] = coco.decode(coco.merge(lengths) if len(lengths) > 1 else lengths[0])
    # COCO counts down the columns, so this comes transposed; OpenCV turns it several times faster than NumPy does.
    return np.asarray(cv2.transpose(decoded.T)).view(np.bool_)


def paint(shapes: Sequence[dict[str, Any]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W]: 1 on the target, 255 where nobody may look, of the shapes of a ReasonSeg file.

    Shapes are painted in decreasing area (inside the image), so that a small one lies on top of a large one; a label with
    "ignore" in it is 255, "flag" is left out (data_processing.py:17-60 of LISA at 3cb2d43). The border is drawn, too, as
    there: it makes a shape about half a pixel larger, and its exact pixels depend on the version of OpenCV.
    """
    painted = np.zeros(size, dtype=np.uint8)
    drawn = [(shape["label"].lower(), _drawn(shape["points"], size)) for shape in shapes]
    areas = [int(np.count_nonzero(area)) if "flag" not in label else 0 for label, area in drawn]
    for number in np.argsort(areas, kind="stable")[
        ::-1
    ]:  # reversed, so that of equal areas the later is painted first
        label, area = drawn[number]
        if "flag" not in label:
            painted[area] = IGNORE if "ignore" in label else TARGET
    return painted


def _run_lengths(part: Any, size: tuple[int, int]) -> Any:
    """One compressed run length dict, a new one: the annotation is shared by everyone who reads it."""
    if not (isinstance(part, dict) and "counts" in part and "size" in part):
        raise ValueError(
            f"a segmentation is polygons or run lengths with `size` and `counts`, not {str(part)[:80]!r}"
        )
    height, width = part["size"]
    if (height, width) != size:
        raise ValueError(f"run lengths of {height} x {width} in an image of {size[0]} x {size[1]} (H x W)")
    counts = part["counts"]
    if isinstance(counts, list):
        if sum(counts) != height * width:
            raise ValueError(f"run lengths add up to {sum(counts)} pixels in an image of {height} x {width}")
        return coco.frPyObjects({"size": [height, width], "counts": list(counts)}, height, width)
    return {"size": [height, width], "counts": counts.encode() if isinstance(counts, str) else counts}


def _filled(polygons: list[list[float]], size: tuple[int, int]) -> list[Any]:
    for polygon in polygons:
        if len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} numbers; x and y come in pairs")
    whole = [polygon for polygon in polygons if len(polygon) >= MIN_NUMBERS]
    return list(coco.frPyObjects(whole, *size)) if whole else []


def _drawn(points: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """bool [H, W]: a polygon with its border, points truncated to whole pixels."""
    corners = [np.array(points, dtype=np.float64).astype(np.int32)]
    area = np.zeros(size, dtype=np.uint8)
    cv2.polylines(area, corners, True, 1, 1)
    cv2.fillPoly(area, corners, 1)
    return area.view(np.bool_)
