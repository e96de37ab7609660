"""Masks from what annotations hold: polygons and run lengths as COCO has them, shapes as ReasonSeg has them.

pycocotools and OpenCV believe what they are given: a NaN makes them run for ever, and pixels that no run reaches are
whatever was in memory. So nothing is given to them that was not looked at here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from seglm.dataset.fields import shown, take

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]

MIN_NUMBERS = (
    6  # of a polygon: three points; fewer enclose nothing, and four would be taken for a box by pycocotools
)
TARGET, IGNORE = 1, 255
NUMBERS = frozenset({int, float})  # as types: True would count as 1
BEYOND = (
    100  # pixels outside a picture that are near whatever its size; as many as its longer side always are
)
LONGEST_OUTLINE = 2_000_000  # pixels; pycocotools keeps 40 bytes of each
MOST_DIGITS = 6  # of a run length in COCO's string, five bits each: 30 bits are more than any picture has
FEWEST: Mapping[str, int] = {"polygon": 3, "oriented_rectangle": 4, "rectangle": 2, "circle": 2}
"""labelme's `shape_type`s that have an area -> the points that they need"""


@dataclass(frozen=True)
class Outline:
    """A shape that is painted."""

    is_ignored: bool
    """what it covers is neither target nor background"""
    corners: NDArray[np.int32]
    """int32 [N, 2], (x, y), pixels of the picture; may lie outside"""


def decode(segmentation: Any, size: tuple[int, int]) -> Mask:
    """bool [H, W]: the union of all parts of one COCO annotation.

    segmentation: a list of polygons, each [x0, y0, x1, y1, ...] or [[x0, y0], ...]; one run length dict (counts a list, str or
    bytes); or a list of such dicts, as refCLEF has them. Nothing in it is changed.
    Raises ValueError if it is none of these, of another size, far outside the picture, or does not fill it.
    Released LISA adds the parts instead (refer_seg_dataset.py:247 at 3cb2d43), which gives 2 where they overlap.
    """
    return drawn(checked(segmentation, size), size)


def checked(segmentation: Any, size: tuple[int, int]) -> list[Any]:
    """The parts of a COCO annotation as `drawn` takes them, plain JSON. Raises ValueError as `decode`."""
    parts = segmentation if isinstance(segmentation, list) else [segmentation]
    plain = [
        near(part, size, "the numbers of a polygon") if isinstance(part, list) else _run_lengths(part, size)
        for part in parts
    ]
    return [part for part in plain if isinstance(part, dict) or len(part) >= MIN_NUMBERS]


def drawn(parts: Sequence[Any], size: tuple[int, int]) -> Mask:
    """bool [H, W]: the union of what `checked` returns; nothing is looked at again."""
    polygons = [part for part in parts if isinstance(part, list)]
    lengths = [{**part, "counts": part["counts"].encode()} for part in parts if isinstance(part, dict)]
    if polygons:
        lengths += coco.frPyObjects(polygons, *size)
    if not lengths:
        return np.zeros(size, dtype=np.bool_)
    decoded: NDArray[np.uint8] = coco.decode(coco.merge(lengths) if len(lengths) > 1 else lengths[0])
    # COCO counts down the columns, so this comes transposed; OpenCV turns it several times faster than NumPy does.
    return np.asarray(cv2.transpose(decoded.T)).view(np.bool_)


def run_lengths(mask: Mask) -> dict[str, Any]:
    """COCO's compressed run lengths with text counts, as JSON has them, of a mask bool [H, W]."""
    coded = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    return {"size": [int(side) for side in coded["size"]], "counts": coded["counts"].decode("ascii")}


def parts_of(annotation: dict[str, Any], size: Sequence[int]) -> list[Any]:
    """What `checked` makes of an annotation's `segmentation`, which has to be there. Raises ValueError."""
    return checked(take(annotation, "segmentation", list, dict), (size[0], size[1]))


def paint(shapes: Sequence[Outline], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W]: 1 on the target, 255 where nobody may look.

    Shapes are painted in decreasing area (inside the image), so that a small one lies on top of a large one
    (data_processing.py:17-60 of LISA at 3cb2d43). The border is drawn, too, as there: it makes a shape about half a pixel
    larger, and its exact pixels depend on the version of OpenCV.
    """
    painted = np.zeros(size, dtype=np.uint8)
    drawn = [(one.is_ignored, _filled(one.corners, size)) for one in shapes]
    areas = [int(np.count_nonzero(area)) for _, area in drawn]
    for number in np.argsort(areas, kind="stable")[
        ::-1
    ]:  # reversed, so that of equal areas the later is painted first
        is_ignored, area = drawn[number]
        painted[area] = IGNORE if is_ignored else TARGET
    return painted


def outlines(shapes: Sequence[Any], size: tuple[int, int]) -> list[Outline]:
    """The shapes of a ReasonSeg file that are painted: a label with "ignore" in it is ignored, one with "flag" left out.

    Raises ValueError that names the shape, see `corners`.
    """
    found = []
    for number, shape in enumerate(shapes):
        try:
            label = take(shape, "label", str).lower()
            if "flag" not in label:
                found.append(Outline("ignore" in label, corners(shape, size)))
        except ValueError as error:
            raise ValueError(f"shape {number}: {error}") from error
    return found


def corners(shape: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.int32]:
    """int32 [N, 2], (x, y): the corners of one of labelme's shapes, cut to whole pixels.

    Raises ValueError for a kind of shape that has no area (a line, points) or is not drawn here (`mask`), for too few points, and
    for coordinates that are no numbers or far away.
    """
    kind = shape.get("shape_type", "polygon")
    if not isinstance(kind, str) or kind not in FEWEST:
        raise ValueError(
            f"`shape_type` is {shown(kind)}, permitted are {', '.join(FEWEST)}; draw it as a polygon"
        )
    flat = near(shape.get("points"), size, f"points of a {kind}")
    refuse_shares([flat], size, f"points of a {kind}")
    points = np.array(flat, dtype=np.float64).reshape(-1, 2)
    if len(points) < FEWEST[kind]:
        raise ValueError(f"a {kind} of {len(points)} points; it has {FEWEST[kind]} at least")
    if kind in BY_TWO:
        if len(points) > 2 and kind == "circle":
            raise ValueError(f"a circle of {len(points)} points; it has 2, its middle and one on it")
        points = BY_TWO[kind](points) if len(points) == 2 else points
    return points.astype(np.int32)


def near(values: Any, size: tuple[int, int], what: str) -> list[float]:
    """x, y, x, y, ... of pairs or of a flat list. Raises ValueError if they cannot be of this picture (H, W)."""
    if not isinstance(values, list):
        raise ValueError(f"{what} are {shown(values)}, permitted is a list of numbers or of pairs")
    flat = values
    if values and isinstance(values[0], (list, tuple)):
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in values):
            raise ValueError(f"{what} are {shown(values)}; in pairs, each is [x, y]")
        flat = [number for pair in values for number in pair]
    if not NUMBERS.issuperset(map(type, flat)):
        wrong = next(one for one in flat if type(one) not in NUMBERS)
        raise ValueError(f"{what} hold {shown(wrong)}, permitted are numbers")
    if len(flat) % 2:
        raise ValueError(f"{what}: a polygon of {len(flat)} numbers; x and y come in pairs")
    if not flat:
        return flat
    margin = max(*size, BEYOND)
    # Plain Python, which is faster than NumPy for so few. A NaN is what is not equal to itself; it hides from min and max.
    is_near = all(map(operator.eq, flat, flat)) and all(
        -margin <= min(along) and max(along) <= side + margin
        for along, side in ((flat[::2], size[1]), (flat[1::2], size[0]))
    )
    if not is_near:
        picture = f"a picture of {size[0]} x {size[1]} (H x W)"
        raise ValueError(f"{what}: {_far(flat, size, margin)} is no place near {picture}")
    # No line is longer than three margins; few outlines have to be measured.
    if len(flat) * 3 * margin > LONGEST_OUTLINE:
        steps = np.abs(np.diff(np.array(flat, dtype=np.float64).reshape(-1, 2), axis=0))
        if steps.max(axis=1).sum() > LONGEST_OUTLINE:
            raise ValueError(f"{what}: an outline of more than {LONGEST_OUTLINE} pixels")
    return flat


def refuse_shares(outlines: Sequence[Sequence[float]], size: tuple[int, int], what: str) -> None:
    """Raises ValueError for outlines of a person's that all lie in the first pixel of a picture (H, W): shares of its sides, as
    YOLO writes them. Published sets have splinters there, and are not asked."""
    numbers = [number for flat in outlines for number in flat]
    if numbers and min(size) > 1 and 0 <= min(numbers) and max(numbers) <= 1:
        raise ValueError(
            f"{what} are {shown(numbers)}, all between 0 and 1 in a picture of {size[0]} x {size[1]} (H x W); "
            f"write pixels: x times {size[1]}, y times {size[0]}"
        )


def _far(flat: list[float], size: tuple[int, int], margin: int) -> str:
    """The first place that is not near a picture."""
    for x, y in zip(flat[::2], flat[1::2], strict=True):
        if not (-margin <= x <= size[1] + margin and -margin <= y <= size[0] + margin):
            return f"({x!r}, {y!r})"[:80]
    raise AssertionError(f"no place of {flat[:10]} is far away")


def _run_lengths(part: Any, size: tuple[int, int]) -> Any:
    """One compressed run length dict, `counts` a text: a new one, the annotation is shared by everyone who reads it."""
    if not (isinstance(part, dict) and "counts" in part and "size" in part):
        raise ValueError(
            f"a segmentation is polygons or run lengths with `size` and `counts`, not {shown(part)}"
        )
    given, counts = part["size"], part["counts"]
    if not isinstance(given, (list, tuple)) or list(given) != list(size):
        told = " x ".join(map(str, given)) if isinstance(given, (list, tuple)) else str(given)
        raise ValueError(f"run lengths of {told[:60]} in an image of {size[0]} x {size[1]} (H x W)")
    if isinstance(counts, (str, bytes)):
        runs = runs_of(counts)
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        raise ValueError(f"`counts` is {shown(counts)}, permitted are whole numbers or COCO's string of them")
    if min(runs, default=0) < 0:
        raise ValueError(f"run lengths hold {min(runs)}; none is negative")
    if sum(runs) != size[0] * size[1]:
        raise ValueError(f"run lengths add up to {sum(runs)} pixels in an image of {size[0]} x {size[1]}")
    if isinstance(counts, list):
        counts = coco.frPyObjects({"size": list(size), "counts": list(counts)}, *size)["counts"]
    return {"size": list(size), "counts": counts.decode() if isinstance(counts, bytes) else counts}


def run_size(part: Any) -> tuple[int, int]:
    """The size (H, W) that run lengths say of themselves, looked at by `checked` afterwards. Raises ValueError."""
    size = part.get("size") if isinstance(part, dict) else None
    if not (
        isinstance(size, (list, tuple))
        and len(size) == 2
        and all(type(side) is int and side > 0 for side in size)
    ):
        raise ValueError(f"{shown(part)}; permitted are null and run lengths with `size` and `counts`")
    return (size[0], size[1])


def runs_of(counts: str | bytes) -> list[int]:
    """The lengths that COCO's compressed string stands for. Raises ValueError if it is none.

    Six bits a sign, from 48 on: five of the number, the lowest first, and one that says that more follow; bit 16 of the last is
    the minus. From the fourth on a number is the difference to the last but one (rleFrString of pycocotools' maskApi.c).
    """
    raw = counts.encode("latin-1", "replace") if isinstance(counts, str) else counts
    signs = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    if not len(signs) or signs.min() < 0 or signs.max() > 63 or signs[-1] & 32:
        raise ValueError(f"`counts` {shown(counts)} is no run length of COCO, or is cut short")
    ends = np.flatnonzero(~signs & 32)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = np.arange(len(signs)) - np.repeat(starts, ends - starts + 1)
    if digits.max() >= MOST_DIGITS:
        raise ValueError(f"`counts` {shown(counts)} holds a run that is longer than any picture")
    runs = np.add.reduceat((signs & 31) << (5 * digits), starts)
    runs -= (signs[ends] >> 4 & 1) << (5 * (digits[ends] + 1))
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    lengths: list[int] = runs.tolist()
    return lengths


def _box(points: Numbers) -> Numbers:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _circle(points: Numbers) -> Numbers:
    """A polygon of a degree a corner; the first point is the middle, the second lies on the circle."""
    angles = np.radians(np.arange(360))
    radius = np.hypot(*(points[1] - points[0]))
    return np.asarray(np.round(points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)))


BY_TWO: Mapping[str, Callable[[Numbers], Numbers]] = {"rectangle": _box, "circle": _circle}
"""shapes that two points tell"""


def _filled(points: NDArray[np.int32], size: tuple[int, int]) -> Mask:
    """bool [H, W]: a polygon with its border."""
    area = np.zeros(size, dtype=np.uint8)
    cv2.polylines(area, [points], True, 1, 1)
    cv2.fillPoly(area, [points], 1)
    return area.view(np.bool_)
