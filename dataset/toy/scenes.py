"""The toy world's pictures: coloured things on textured ground, drawn from a seed, with true masks.

A scene is a list of things in painter's order (back to front). Every function here is a pure function of the scene, and a
scene is a pure function of (seed, size, split); `Scene.seed` already carries the split, so no two splits share a scene.
Coordinates: pixels of the scene's own image, (x, y), origin top left; pixel (row, column) covers x in [column, column + 1).
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.dataset.toy.shapes import SHAPES, inside_part, inside_shape, part_names

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]
Window = tuple[slice, slice]
Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
SIZES = ("small", "medium", "large")
MATERIALS = ("plain", "striped", "dotted")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 40, 40),
    "green": (45, 160, 60),
    "blue": (45, 85, 215),
    "yellow": (235, 215, 50),
    "orange": (240, 135, 30),
    "purple": (140, 50, 170),
    "white": (240, 240, 240),
    "black": (28, 28, 32),
}
GRID = 128  # side of the canvas on which a scene is laid out before it is scaled to the size asked for
RADII = {
    "small": (10.5, 12.5),
    "medium": (15.5, 18.5),
    "large": (23.0, 27.0),
}  # px of the 128 grid; no overlap between sizes
MAX_TILT = math.radians(15)  # so that "the upper point" stays the upper one
COUNT_ODDS = (0.06, 0.14, 0.24, 0.25, 0.18, 0.13)  # of 1, 2, ... 6 things
TWIN_ODDS = (
    0.3  # a thing takes its colour or its shape from an earlier one, so that one word does not always suffice
)
ODD_ONE_ODDS = 0.12  # a scene in which all but one thing share a colour or a shape
NEST_ODDS = 0.3  # a small thing goes into the hole of a large ring, where there is one
VISIBLE_SHARE = 0.65  # least visible share while placing; at any drawn size it stays above the promised 0.6
PLACE_TRIES = 40
MATERIAL_ODDS = (0.5, 0.25, 0.25)
STRIPE_TONE, DOT_TONE = 0.35, 0.5  # how far the pattern goes towards its contrast
RIM, RIM_LIGHT = 1.3, 0.6  # px of the 128 grid, and how dark: tells a thing from one of its colour below it
MIN_PART_SHARE = 0.06  # of the thing's visible mask; a smaller part counts as hidden
REACH = 1.3  # radii: no point of any shape lies farther from the centre
SCENES_AT_HAND = 8  # whose masks are kept: everything that is said of a scene asks for them again
NAMES_AT_HAND = 1 << 14  # things whose names of parts are kept: every data set asks for them again


@dataclass(frozen=True)
class Thing:
    """One coloured shape."""

    shape: str
    """one of SHAPES"""
    colour: str
    """one of COLOURS"""
    size: str
    """one of SIZES; RADII holds the range of the radius"""
    material: str
    """one of MATERIALS"""
    x: float
    """centre, pixels of the scene's image"""
    y: float
    """centre, pixels of the scene's image"""
    radius: float
    """pixels of the scene's image"""
    angle: float
    """radians, clockwise on the screen"""


@dataclass(frozen=True)
class Scene:
    """A picture before it is drawn."""

    seed: int
    """of the ground, the noise and the shades; different for each (seed, split)"""
    height: int
    """pixels"""
    width: int
    """pixels"""
    things: tuple[Thing, ...]
    """painter's order, back to front"""


def make_scene(seed: int, *, size: int = GRID, split: Split = "train") -> Scene:
    """The scene of a seed: 1 to 6 things, at least 60 % of each visible; the same layout at every `size` (pixels)."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; permitted: {', '.join(SPLITS)}")
    own_seed = seed * len(SPLITS) + SPLITS.index(split)
    rng = np.random.default_rng(own_seed)
    placed: list[Thing] = []
    footprints: list[Mask] = []
    for look in _looks(rng):
        thing = _place(look, placed, footprints, rng)
        if thing is not None:
            placed.append(thing)
            footprints.append(_footprint(thing, GRID // 2, GRID // 2, scale=0.5))
    scale = size / GRID
    things = tuple(replace(t, x=t.x * scale, y=t.y * scale, radius=t.radius * scale) for t in placed)
    return Scene(own_seed, size, size, things)


def draw(scene: Scene) -> Picture:
    """The picture: uint8 [H, W, 3] RGB."""
    rng = np.random.default_rng([scene.seed, 1])
    canvas = ground(scene.height, scene.width, rng)
    for thing in scene.things:
        paint(canvas, thing, rng, unit=scene.width / GRID)
    light = np.linspace(rng.uniform(0.85, 1.1), rng.uniform(0.85, 1.1), scene.width, dtype=np.float32)
    canvas *= light[None, :, None]
    canvas += rng.normal(0.0, 6.0, canvas.shape).astype(np.float32)
    return np.clip(canvas, 0, 255).astype(np.uint8)


@lru_cache(SCENES_AT_HAND)
def visible_masks(scene: Scene) -> Mask:
    """What is seen of each thing, occlusion taken off: bool [N, H, W], read-only, in the order of `scene.things`."""
    masks = np.zeros((len(scene.things), scene.height, scene.width), dtype=bool)
    for index, thing in enumerate(scene.things):
        rows, columns = _window(thing, scene.height, scene.width)
        whole = inside_shape(thing.shape, *_local(thing, (rows, columns)))
        masks[:index, rows, columns] &= ~whole
        masks[index, rows, columns] = whole
    masks.setflags(write=False)
    return masks


def parts(scene: Scene, i: int) -> dict[str, Mask]:
    """The visible named parts of thing `i`: name -> bool [H, W]; a part that is (almost) hidden is left out."""
    window, cut = _cut(scene, i)
    found = {name: np.zeros((scene.height, scene.width), dtype=bool) for name in cut}
    for name, piece in cut.items():
        found[name][window] = piece
    return found


@lru_cache(NAMES_AT_HAND)
def parts_seen(scene: Scene, i: int) -> tuple[str, ...]:
    """The names of `parts`, without their masks."""
    return tuple(_cut(scene, i)[1])


@lru_cache(SCENES_AT_HAND * len(COUNT_ODDS))
def _cut(scene: Scene, i: int) -> tuple[Window, dict[str, Mask]]:
    """The window in which thing `i` lies, and its parts in it: bool [rows, columns]."""
    thing = scene.things[i]
    window = _window(thing, scene.height, scene.width)
    visible = visible_masks(scene)[i][window]
    u, v = _local(thing, window)
    least = max(1.0, MIN_PART_SHARE * np.count_nonzero(visible))
    cut = {name: visible & inside_part(thing.shape, name, u, v) for name in part_names(thing.shape)}
    return window, {name: mask for name, mask in cut.items() if np.count_nonzero(mask) >= least}


def _looks(rng: np.random.Generator) -> list[Thing]:
    """What the things of a scene look like, not yet placed (x and y are 0)."""
    count = int(rng.choice(len(COUNT_ODDS), p=COUNT_ODDS)) + 1
    looks: list[Thing] = []
    for _ in range(count):
        look = _random_look(rng)
        if looks and rng.random() < TWIN_ODDS:
            twin = looks[int(rng.integers(len(looks)))]
            look = (
                replace(look, colour=twin.colour) if rng.random() < 0.5 else replace(look, shape=twin.shape)
            )
        looks.append(look)
    if count >= 3 and rng.random() < ODD_ONE_ODDS:
        looks = _with_odd_one(looks, rng)
    return looks


def _random_look(rng: np.random.Generator) -> Thing:
    size = SIZES[int(rng.integers(len(SIZES)))]
    return Thing(
        shape=SHAPES[int(rng.integers(len(SHAPES)))],
        colour=tuple(COLOURS)[int(rng.integers(len(COLOURS)))],
        size=size,
        material=MATERIALS[int(rng.choice(len(MATERIALS), p=MATERIAL_ODDS))],
        x=0.0,
        y=0.0,
        radius=float(rng.uniform(*RADII[size])),
        angle=float(rng.uniform(-MAX_TILT, MAX_TILT)),
    )


def _with_odd_one(looks: list[Thing], rng: np.random.Generator) -> list[Thing]:
    """All but one share the colour (or the shape) of the first other one."""
    odd = int(rng.integers(len(looks)))
    rest = looks[(odd + 1) % len(looks)]
    if rng.random() < 0.5:
        return [look if i == odd else replace(look, colour=rest.colour) for i, look in enumerate(looks)]
    return [look if i == odd else replace(look, shape=rest.shape) for i, look in enumerate(looks)]


def _place(
    look: Thing, placed: list[Thing], footprints: list[Mask], rng: np.random.Generator
) -> Thing | None:
    """`look` at a spot where every earlier thing stays visible enough; None if no spot was found."""
    holes = [t for t in placed if t.shape == "ring" and t.size == "large"]
    nest = holes[0] if look.size == "small" and holes and rng.random() < NEST_ODDS else None
    margin = 1.15 * look.radius + 1
    for _ in range(PLACE_TRIES):
        x, y = rng.uniform(margin, GRID - margin, 2)
        if nest is not None:
            x, y = nest.x + rng.uniform(-1, 1), nest.y + rng.uniform(-1, 1)
        thing = replace(look, x=float(x), y=float(y))
        if _leaves_visible(_footprint(thing, GRID // 2, GRID // 2, scale=0.5), footprints):
            return thing
    return None


def _leaves_visible(cover: Mask, footprints: list[Mask]) -> bool:
    covered = cover
    for index in range(len(footprints) - 1, -1, -1):
        below = footprints[index]
        if np.count_nonzero(below & ~covered) < VISIBLE_SHARE * np.count_nonzero(below):
            return False
        covered = covered | below
    return True


def _window(thing: Thing, height: int, width: int, *, scale: float = 1.0) -> Window:
    """The rows and columns of the picture that the thing may reach."""
    reach, x, y = scale * REACH * thing.radius + 1, scale * thing.x, scale * thing.y
    rows = slice(max(0, int(y - reach)), min(height, int(y + reach) + 1))
    return rows, slice(max(0, int(x - reach)), min(width, int(x + reach) + 1))


def _local(
    thing: Thing, window: Window, *, scale: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixel centres in the thing's own frame, in radii: two float [rows, columns], u to its right, v to its lower side."""
    rows, columns = (np.arange(side.start, side.stop, dtype=np.float32) + 0.5 for side in window)
    xs, ys = columns[None, :] / scale - thing.x, rows[:, None] / scale - thing.y
    cos, sin = math.cos(thing.angle) / thing.radius, math.sin(thing.angle) / thing.radius
    return xs * np.float32(cos) + ys * np.float32(sin), ys * np.float32(cos) - xs * np.float32(sin)


def _footprint(thing: Thing, height: int, width: int, *, scale: float = 1.0) -> Mask:
    """The whole thing, seen or not: bool [H, W]; `scale` is grid pixels per pixel of the thing's coordinates."""
    window = _window(thing, height, width, scale=scale)
    footprint = np.zeros((height, width), dtype=bool)
    footprint[window] = inside_shape(thing.shape, *_local(thing, window, scale=scale))
    return footprint


def ground(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Muted, blotchy ground: float [H, W, 3]."""
    tint = rng.uniform(85, 165, 3)
    coarse = tint + rng.normal(0, 18, (5, 5, 1)) + rng.normal(0, 10, (5, 5, 3))
    fine = rng.normal(0, 9, (24, 24, 3))
    ground = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    ground = ground + cv2.resize(fine.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(ground, dtype=np.float32)


def paint(canvas: NDArray[np.float32], thing: Thing, rng: np.random.Generator, *, unit: float) -> None:
    """Paint one thing over the canvas, in place; `unit` is pixels per pixel of the 128 grid."""
    rows, columns = _window(thing, *canvas.shape[:2])
    window = canvas[rows, columns].transpose(
        2, 0, 1
    )  # colour first: three long planes, not many rows of three
    _, height, width = window.shape
    moved = replace(thing, x=thing.x - columns.start, y=thing.y - rows.start)
    fine_cover = _footprint(moved, 2 * height, 2 * width, scale=2.0).astype(np.float32)
    cover = cv2.resize(fine_cover, (width, height), interpolation=cv2.INTER_AREA)
    u, v = _local(moved, (slice(0, height), slice(0, width)))
    base = np.asarray(COLOURS[thing.colour], dtype=np.float32) + rng.normal(0, 7, 3).astype(np.float32)
    shade = 1.0 + rng.uniform(-0.12, 0.12) * u + rng.uniform(-0.12, 0.12) * v
    tone = _pattern(thing, u, v, unit)
    patterned = base[:, None, None] * (1 - tone) + (235 if base.mean() < 90 else 15) * tone
    rim = np.float32(1 + RIM * unit / thing.radius)
    patterned = patterned * np.where(inside_shape(thing.shape, u * rim, v * rim), 1.0, RIM_LIGHT)
    window += cover * (patterned * shade.astype(np.float32) - window)


def _pattern(
    thing: Thing, u: NDArray[np.float32], v: NDArray[np.float32], unit: float
) -> NDArray[np.float32]:
    """How far each pixel goes from the colour to its contrast: float [H, W]; the period is one on every size of thing."""
    turn = 2 * math.pi * thing.radius / (7.0 * unit)  # 7 px of the 128 grid from stripe to stripe
    if thing.material == "plain":
        return np.zeros(u.shape, dtype=np.float32)
    if thing.material == "striped":
        tone, inked = STRIPE_TONE, np.sin(turn * (u + v) * math.sqrt(0.5)) > 0.2
    else:
        tone, inked = DOT_TONE, np.sin(turn * u) * np.sin(turn * v) > 0.3
    return np.where(inked, tone, 0.0).astype(np.float32)
