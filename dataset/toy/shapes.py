"""The six shapes and their named parts, as tests on points.

All functions take the thing's own frame: u to its right, v to its lower side, in radii, float arrays of one shape; they
return bool arrays of that shape. A thing is tilted by 15 degrees at most, so "left" and "upper" keep their meaning.
"""

import math

import numpy as np
from numpy.typing import NDArray

Axis = NDArray[np.float32]
Mask = NDArray[np.bool_]

SHAPES = ("circle", "square", "triangle", "ring", "cross", "star")
RING_HOLE = 0.55  # radii; the hole of a large ring takes a small thing whole
RING_MIDDLE = 0.5 * (1 + RING_HOLE)  # between the inner and the outer edge
CORE = 0.55  # the inner part is the shape scaled by this
ARM = 0.36  # half the width of an arm of the cross
SQUARE_HALF = 0.87  # half a side; the area is about that of the circle
TRIANGLE_INNER = 0.58  # radius of the inscribed circle
STAR_INNER, STAR_OUTER = 0.52, 1.14

HALVES = ("left half", "right half", "upper half", "lower half")
OWN_PARTS: dict[str, tuple[str, ...]] = {
    "circle": ("inner part", "outer part"),
    "square": ("inner part", "outer part"),
    "triangle": ("upper point",),
    "ring": ("inner edge", "outer edge"),
    "cross": ("upper arm", "lower arm", "left arm", "right arm"),
    "star": ("upper point",),
}


def inside_shape(shape: str, u: Axis, v: Axis) -> Mask:
    """Whether each point lies on the shape."""
    match shape:
        case "circle":
            return u * u + v * v <= 1
        case "square":
            return np.maximum(np.abs(u), np.abs(v)) <= SQUARE_HALF
        case "triangle":
            return (v <= TRIANGLE_INNER) & (math.sqrt(0.75) * np.abs(u) - 0.5 * v <= TRIANGLE_INNER)
        case "ring":
            square = u * u + v * v
            return (square <= 1) & (square >= RING_HOLE * RING_HOLE)
        case "cross":
            near, far = np.minimum(np.abs(u), np.abs(v)), np.maximum(np.abs(u), np.abs(v))
            return (near <= ARM) & (far <= 1)
        case "star":
            return _inside_star(u, v)
    raise ValueError(f"unknown shape {shape!r}; permitted: {', '.join(SHAPES)}")


def part_names(shape: str) -> tuple[str, ...]:
    """The parts that a thing of this shape has."""
    return HALVES + OWN_PARTS[shape]


def inside_part(shape: str, part: str, u: Axis, v: Axis) -> Mask:
    """Whether each point, known to lie on the shape, lies on this part of it."""
    if part not in part_names(shape):
        raise ValueError(f"a {shape} has no part {part!r}; it has: {', '.join(part_names(shape))}")
    side, kind = part.split(" ")
    if kind == "half":
        return {"left": u < 0, "right": u >= 0, "upper": v < 0, "lower": v >= 0}[side]
    if kind == "arm":
        return {"left": u < -ARM, "right": u > ARM, "upper": v < -ARM, "lower": v > ARM}[side]
    if kind == "edge":
        outer: Mask = u * u + v * v > RING_MIDDLE * RING_MIDDLE
        return outer if side == "outer" else ~outer
    if kind == "point":
        return np.asarray(v < -0.35)
    core = inside_shape(shape, u / np.float32(CORE), v / np.float32(CORE))
    return core if side == "inner" else ~core


def _inside_star(u: Axis, v: Axis) -> Mask:
    """Five points, one upward: in each tenth of the turn the outline is a straight line from tip to notch."""
    radius = np.hypot(u, v)
    turn = 2 * math.pi / 5
    angle = np.abs((np.arctan2(u, -v) + turn / 2) % turn - turn / 2)  # from the nearest tip, 0 .. 36 degrees
    notch_x, notch_y = STAR_INNER * math.cos(turn / 2), STAR_INNER * math.sin(turn / 2)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    return np.asarray((along - STAR_OUTER) * notch_y - across * (notch_x - STAR_OUTER) <= 0)
