"""Forms of speech that name a thing by what it is or where it is: class, attribute, position, superlative, multi, part.

A form draws a wording for a scene and fills it twice, see `Pair`; it returns None where the scene does not allow both.
"""

from collections.abc import Callable, Sequence

import numpy as np

from seglm.dataset.toy.crowds import CROWDS
from seglm.dataset.toy.scenes import COLOURS, Scene, Split, parts_seen
from seglm.dataset.toy.shapes import SHAPES
from seglm.dataset.toy.words import (
    HELD_OUT_LOOKS,
    Description,
    Pair,
    Phrase,
    absent_look,
    choose,
    describe,
    filled,
    fitting,
    nothing,
    pick,
    plural_of,
)

Form = Callable[[Scene, np.random.Generator, Split], Pair | None]

NAMINGS: tuple[tuple[str, ...], ...] = (
    ("shape",),
    ("colour",),
    ("colour", "shape"),
    ("colour", "shape"),
    ("size", "shape"),
    ("size", "colour"),
    ("size", "colour", "shape"),
    ("material", "shape"),
    ("material", "colour", "shape"),
)
CLEAR_GAP = 0.06  # of the image side; a smaller difference in place is not worth a word
CLEAR_RATIO = 1.2  # of two radii

CLASS_SAYINGS = ("{one}", "{many}", "{many} in the picture", "{one} class", "class of {many}")
NAME_SAYINGS = (
    "{d}",
    "{d}",
    "{d} in the picture",
    "{d} you can see",
    "{d} shown here",
    "{d} that you can see here",
)
PART_SAYINGS = (
    "{p} of the {d}",
    "{p} that belongs to the {d}",
    "{p} you can see of the {d}",
    "{p} shown of the {d}",
)
SIDES: dict[str, tuple[str, int, float]] = {  # word -> (superlative, axis, sign)
    "left": ("leftmost", 0, 1.0),
    "right": ("rightmost", 0, -1.0),
    "top": ("topmost", 1, 1.0),
    "bottom": ("lowest", 1, -1.0),
}
END_SAYINGS = (
    "{end} {d}",
    "{d} closest to the {side} edge",
    "{d} furthest to the {side}",
    "{d} that is the {end} one",
)
SECOND_SAYINGS = (
    "second {d} from the {side}",
    "{d} that is second from the {side}",
    "{d} that comes second from the {side}",
)
QUARTERS = ("upper left", "upper right", "lower left", "lower right")
QUARTER_SAYINGS = ("{d} in the {q} corner", "{d} at the {q}", "{q} {d}", "{d} that is in the {q} corner")
EXTREMES: dict[str, tuple[str, ...]] = {
    "largest": (
        "largest {d}",
        "biggest {d}",
        "{d} that takes up the most room",
        "{d} that is the biggest one",
    ),
    "smallest": (
        "smallest {d}",
        "tiniest {d}",
        "{d} that takes up the least room",
        "{d} that is the tiniest one",
    ),
}


def class_form(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """All things of a shape, by the name of the shape."""
    present = sorted({thing.shape for thing in scene.things})
    missing = [shape for shape in SHAPES if shape not in present]
    if not missing:
        return None
    saying = pick(CLASS_SAYINGS, rng, split=split)
    shape, other = choose(present, rng), choose(missing, rng)
    targets = fitting(scene, Description(shape=shape))
    there = Phrase(
        saying.format(one=shape, many=plural_of(shape)),
        "class",
        targets,
        False,
        shape,
        form="class",
        said=("shape",),
    )
    return Pair(there, nothing(saying.format(one=other, many=plural_of(other)), "class", keyword=other))


def attribute_form(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """One thing by what it looks like."""
    names, index = choose(NAMINGS, rng), int(rng.integers(len(scene.things)))
    description = describe(scene.things[index], names)
    absent = absent_look(scene, names, rng, split=split)
    if absent is None or fitting(scene, description) != (index,):
        return None
    saying = pick(NAME_SAYINGS, rng, split=split)
    return filled(
        scene,
        saying,
        kind="attribute",
        look=description,
        absent=absent,
        targets=(index,),
        rng=rng,
        split=split,
    )


def position_form(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """One thing of a class by where it is among its like, or by the corner in which it is."""
    description, absent, members = _crowd(scene, rng, split)
    if not members:
        return None
    if rng.random() < 0.3:
        return _quarter(scene, description, members, rng, split)
    side = choose(tuple(SIDES), rng)
    end, axis, sign = SIDES[side]
    spots = {i: sign * (scene.things[i].x, scene.things[i].y)[axis] / scene.width for i in members}
    order = sorted(members, key=spots.__getitem__)
    gaps = [spots[b] - spots[a] for a, b in zip(order, order[1:], strict=False)]
    if len(order) >= 3 and rng.random() < 0.4 and min(gaps[:2]) > CLEAR_GAP:
        saying = pick(SECOND_SAYINGS, rng, split=split).replace("{side}", side)
        return filled(
            scene,
            saying,
            kind="position",
            look=description,
            absent=absent,
            targets=(order[1],),
            rng=rng,
            split=split,
        )
    if len(order) < 2 or gaps[0] <= CLEAR_GAP:
        return None
    saying = pick(END_SAYINGS, rng, split=split).replace("{side}", side).replace("{end}", end)
    return filled(
        scene,
        saying,
        kind="position",
        look=description,
        absent=absent,
        targets=(order[0],),
        rng=rng,
        split=split,
    )


def superlative_form(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """One thing of a class by its size among its like."""
    description, absent, members = _crowd(scene, rng, split)
    if len(members) < 2 or description.size:
        return None
    extreme = choose(tuple(EXTREMES), rng)
    order = sorted(members, key=lambda i: scene.things[i].radius, reverse=extreme == "largest")
    first, second = (scene.things[i].radius for i in order[:2])
    if max(first, second) < CLEAR_RATIO * min(first, second):
        return None
    saying = pick(EXTREMES[extreme], rng, split=split)
    return filled(
        scene,
        saying,
        kind="superlative",
        look=description,
        absent=absent,
        targets=(order[0],),
        rng=rng,
        split=split,
    )


def part_form(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """A named part of a thing that is named by its look; the absent wording names a thing that is not there."""
    names = choose((("shape",), ("colour", "shape")), rng)
    index = int(rng.integers(len(scene.things)))
    description = describe(scene.things[index], names)
    taken = [thing.colour for thing in scene.things if thing.shape == description.shape]
    by_shape = names == ("shape",)
    if by_shape:
        absent = absent_look(scene, names, rng, split=split)
    else:
        absent = _same_shape_other_colour(description, taken, rng, split)
    if absent is None or fitting(scene, description) != (index,):
        return None
    # Parts other than halves tell the shape.
    named = [name for name in parts_seen(scene, index) if not by_shape or name.endswith("half")]
    if not named:
        return None
    part = choose(named, rng)
    saying = pick(PART_SAYINGS, rng, split=split).replace("{p}", part)
    return filled(
        scene,
        saying,
        kind="part",
        look=description,
        absent=absent,
        targets=(index,),
        rng=rng,
        split=split,
        part=part,
    )


def _crowd(
    scene: Scene, rng: np.random.Generator, split: Split
) -> tuple[Description, Description | None, tuple[int, ...]]:
    """A look that is shared (or "thing", which all share), one that is not there, and the members; no members: give up."""
    if rng.random() < 0.3:
        return Description(), None, tuple(range(len(scene.things)))
    names = choose(CROWDS, rng)
    description = describe(choose(scene.things, rng), names)
    absent = absent_look(scene, names, rng, split=split)
    return description, absent, () if absent is None else fitting(scene, description)


def _quarter(
    scene: Scene, description: Description, members: Sequence[int], rng: np.random.Generator, split: Split
) -> Pair | None:
    """The one thing of a look in a quarter of the image."""
    quarter = choose(QUARTERS, rng)
    side, clear = {"upper": -1, "lower": 1, "left": -1, "right": 1}, CLEAR_GAP * scene.width
    depths = {}
    for i, thing in enumerate(scene.things):
        dy = side[quarter.split()[0]] * (thing.y - scene.height / 2)
        depths[i] = min(dy, side[quarter.split()[1]] * (thing.x - scene.width / 2))
    inside = [i for i in members if depths[i] > clear]
    if len(inside) != 1 or any(abs(depths[i]) <= clear for i in members):
        return None
    near = [i for i, depth in depths.items() if depth > -clear]
    absent = (
        absent_look(scene, description.said(), rng, split=split, among=near) if description.said() else None
    )
    if description.said() and absent is None:
        return None
    saying = pick(QUARTER_SAYINGS, rng, split=split).replace("{q}", quarter)
    return filled(
        scene,
        saying,
        kind="position",
        look=description,
        absent=absent,
        targets=(inside[0],),
        rng=rng,
        split=split,
    )


def _same_shape_other_colour(
    description: Description, taken: Sequence[str], rng: np.random.Generator, split: Split
) -> Description | None:
    """A (colour, shape) that is not there, the shape being the one described; `taken` are the colours of that shape."""
    held_out = {colour for colour, shape in HELD_OUT_LOOKS if shape == description.shape and split == "train"}
    free = [colour for colour in COLOURS if colour not in taken and colour not in held_out]
    return Description(colour=choose(free, rng), shape=description.shape) if free else None
