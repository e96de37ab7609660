"""Forms of speech that name a thing by its relation to others: sides, inside, between, closest.

Both fillings of a wording share the relation and the other things; only the look of the target differs. A relation is True,
False or None (too close to call); a wording is used only if it is clear for every thing that fits the look.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from seglm.dataset.toy.scenes import Scene, Split, Thing
from seglm.dataset.toy.shapes import RING_HOLE
from seglm.dataset.toy.words import (
    Description,
    Pair,
    absent_look,
    choose,
    describe,
    filled,
    fitting,
    is_held_out,
    pick,
)

Holds = Callable[[Thing], bool | None]

SIDE_WORDS: dict[str, tuple[tuple[str, ...], int, float]] = {  # name -> (ways to say it, axis, sign)
    "left": (("left of", "to the left of"), 0, -1.0),
    "right": (("right of", "to the right of"), 0, 1.0),
    "above": (("above", "higher than"), 1, -1.0),
    "below": (("below", "lower than"), 1, 1.0),
}
SIDE_SAYINGS = (
    "{d} {r} the {a}",
    "{d} {r} the {a}",
    "{d} that is {r} the {a}",
    "{d} you can see {r} the {a}",
)
INSIDE_SAYINGS = (
    "{d} inside the {a}",
    "{d} within the {a}",
    "{d} in the middle of the {a}",
    "{d} that is inside the {a}",
)
BETWEEN_SAYINGS = (
    "{d} between the {a} and the {b}",
    "{d} in between the {a} and the {b}",
    "{d} that is between the {a} and the {b}",
)
CLOSEST_SAYINGS = ("{d} closest to the {a}", "{d} nearest to the {a}", "{d} that is closest to the {a}")
ANCHORS: tuple[tuple[str, ...], ...] = (
    ("shape",),
    ("colour", "shape"),
    ("colour", "shape"),
    ("size", "shape"),
)
HEADS: tuple[tuple[str, ...], ...] = (
    (),
    ("shape",),
    ("shape",),
    ("colour",),
    ("colour", "shape"),
    ("size", "shape"),
)
CLEAR_SIDE = 0.10  # of the image side: a clear step to the side
LEVEL = 0.03  # of the image side: as good as level


def side_holds(scene: Scene, name: str, anchor: Thing) -> Holds:
    """Whether a thing lies to this side of the anchor, by the centres."""
    _, axis, sign = SIDE_WORDS[name]

    def holds(thing: Thing) -> bool | None:
        step = sign * ((thing.x, thing.y)[axis] - (anchor.x, anchor.y)[axis]) / scene.width
        return True if step > CLEAR_SIDE else False if step < LEVEL else None

    return holds


def relation_form(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """One thing by its relation to one or two others."""
    if len(scene.things) < 2:
        return None
    roll = rng.random()
    if roll < 0.55:
        return _beside(scene, rng, split)
    if roll < 0.7:
        return _inside(scene, rng, split)
    return _between(scene, rng, split) if roll < 0.85 else _closest(scene, rng, split)


def anchor_of(scene: Scene, index: int, rng: np.random.Generator) -> Description | None:
    """A description that fits this thing alone."""
    description = describe(scene.things[index], choose(ANCHORS, rng))
    return description if fitting(scene, description) == (index,) else None


def _beside(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    name, index = choose(tuple(SIDE_WORDS), rng), int(rng.integers(len(scene.things)))
    anchor = anchor_of(scene, index, rng)
    if anchor is None:
        return None
    saying = pick(SIDE_SAYINGS, rng, split=split).replace("{r}", choose(SIDE_WORDS[name][0], rng))
    holds = side_holds(scene, name, scene.things[index])
    return _related(scene, saying.replace("{a}", anchor.say()), holds, anchors=(index,), rng=rng, split=split)


def _inside(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    rings = [i for i, thing in enumerate(scene.things) if thing.shape == "ring"]
    if not rings:
        return None
    index = choose(rings, rng)
    ring, anchor = scene.things[index], anchor_of(scene, index, rng)
    if anchor is None:
        return None

    def holds(thing: Thing) -> bool | None:
        distance = math.hypot(thing.x - ring.x, thing.y - ring.y)
        if distance < 0.25 * ring.radius and thing.radius < 1.15 * RING_HOLE * ring.radius:
            return True
        return False if distance > 0.8 * ring.radius else None

    saying = pick(INSIDE_SAYINGS, rng, split=split).replace("{a}", anchor.say())
    return _related(scene, saying, holds, anchors=(index,), rng=rng, split=split)


def _between(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    if len(scene.things) < 3:
        return None
    first, second = (int(i) for i in rng.choice(len(scene.things), 2, replace=False))
    a, b = scene.things[first], scene.things[second]
    anchors = [anchor_of(scene, i, rng) for i in (first, second)]
    if anchors[0] is None or anchors[1] is None:
        return None
    dx, dy, square = b.x - a.x, b.y - a.y, (b.x - a.x) ** 2 + (b.y - a.y) ** 2

    def holds(thing: Thing) -> bool | None:
        along = ((thing.x - a.x) * dx + (thing.y - a.y) * dy) / square
        across = abs((thing.x - a.x) * dy - (thing.y - a.y) * dx) / square
        if 0.2 < along < 0.8 and across < 0.3:
            return True
        return False if not -0.05 < along < 1.05 or across > 0.6 else None

    saying = (
        pick(BETWEEN_SAYINGS, rng, split=split)
        .replace("{a}", anchors[0].say())
        .replace("{b}", anchors[1].say())
    )
    return _related(scene, saying, holds, anchors=(first, second), rng=rng, split=split)


def _closest(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """The closest one of a look; the absent wording names a look that is not there at all."""
    index = int(rng.integers(len(scene.things)))
    anchor, names = anchor_of(scene, index, rng), choose(HEADS, rng)
    others = [i for i in range(len(scene.things)) if i != index]
    look = describe(scene.things[choose(others, rng)], names)
    members = [i for i in others if look.fits(scene.things[i])]
    if anchor is None or len(members) < 2:
        return None
    far = [
        math.hypot(scene.things[i].x - scene.things[index].x, scene.things[i].y - scene.things[index].y)
        for i in members
    ]
    order = np.argsort(far)
    if far[order[1]] - far[order[0]] < CLEAR_SIDE * scene.width:
        return None
    absent = absent_look(scene, names, rng, split=split) if names else None
    saying = pick(CLOSEST_SAYINGS, rng, split=split).replace("{a}", anchor.say())
    nearest = members[int(order[0])]
    return filled(
        scene, saying, kind="relation", look=look, absent=absent, targets=(nearest,), rng=rng, split=split
    )


def _related(
    scene: Scene,
    saying: str,
    holds: Holds,
    *,
    anchors: Sequence[int],
    rng: np.random.Generator,
    split: Split,
) -> Pair | None:
    """The pair for a relation: the look of the one thing for which it holds, and a look for which it holds of nothing.

    Half of the absent looks are those of present things on the wrong side.
    """
    others = [i for i in range(len(scene.things)) if i not in anchors]
    there = [i for i in others if holds(scene.things[i])]
    maybe = [i for i in others if holds(scene.things[i]) is not False]
    if not there:
        return None
    index, names = choose(there, rng), choose(HEADS, rng)
    look = describe(scene.things[index], names)
    if [i for i in maybe if look.fits(scene.things[i])] != [index]:
        return None
    absent = None
    if names and rng.random() < 0.5:
        askable = [i for i in others if split != "train" or not is_held_out(scene.things[i])]
        absent = _wrong_side(scene, askable, names, rng, maybe=maybe)
    if absent is None and names:
        absent = absent_look(scene, names, rng, split=split, among=maybe)
    if absent is None and names:
        return None
    return filled(
        scene, saying, kind="relation", look=look, absent=absent, targets=(index,), rng=rng, split=split
    )


def _wrong_side(
    scene: Scene,
    others: Sequence[int],
    names: Sequence[str],
    rng: np.random.Generator,
    *,
    maybe: Sequence[int],
) -> Description | None:
    """The look of one of the others that fits none of those for which the relation may hold."""
    away = [describe(scene.things[i], names) for i in others]
    away = [look for look in away if not any(look.fits(scene.things[i]) for i in maybe)]
    return choose(away, rng) if away else None
