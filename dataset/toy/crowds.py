"""Forms of speech that name several things at once: all of a look, or two by their looks."""

import numpy as np

from seglm.dataset.toy.scenes import Scene, Split
from seglm.dataset.toy.words import (
    NOUNS,
    Pair,
    Phrase,
    absent_look,
    choose,
    describe,
    fitting,
    may_ask,
    nothing,
    pick,
)

CROWDS: tuple[tuple[str, ...], ...] = (
    ("shape",),
    ("colour",),
    ("size", "shape"),
    ("size", "colour"),
    ("material", "shape"),
)
CROWD_SAYINGS = (
    "{ds}",
    "{ds} in the picture",
    "whole group of {ds}",
    "{ds} you can see",
    "group of {ds} shown here",
)
COUPLE_SAYINGS = (
    "{a} and the {b}",
    "{a} together with the {b}",
    "{a} as well as the {b}",
    "{a} and also the {b}",
)


def crowd_form(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """All things of a look, two at least."""
    names = choose(CROWDS, rng)
    description = describe(choose(scene.things, rng), names)
    members, absent = fitting(scene, description), absent_look(scene, names, rng, split=split)
    if len(members) < 2 or absent is None or not may_ask(scene, members, split=split):
        return None
    saying, noun = pick(CROWD_SAYINGS, rng, split=split), choose(NOUNS, rng)
    texts = [saying.format(ds=d.say(noun=noun, plural=True)) for d in (description, absent)]
    keywords = [d.say(plural=True) for d in (description, absent)]
    there = Phrase(texts[0], "multi", members, False, keywords[0], form="multi", said=names)
    return Pair(there, nothing(texts[1], "multi", keyword=keywords[1]))


def couple_form(scene: Scene, rng: np.random.Generator, split: Split) -> Pair | None:
    """Two things, each by its look."""
    names = ("colour", "shape")
    if len(scene.things) < 2:
        return None
    pair = tuple(int(i) for i in rng.choice(len(scene.things), 2, replace=False))
    looks = [describe(scene.things[i], names) for i in pair]
    absent = [absent_look(scene, names, rng, split=split) for _ in pair]
    if any(fitting(scene, look) != (i,) for look, i in zip(looks, pair, strict=True)):
        return None
    if absent[0] is None or absent[1] is None or absent[0] == absent[1]:
        return None
    if not may_ask(scene, pair, split=split):
        return None
    saying = pick(COUPLE_SAYINGS, rng, split=split)
    text = saying.format(a=looks[0].say(), b=looks[1].say())
    none_text = saying.format(a=absent[0].say(), b=absent[1].say())
    there = Phrase(
        text, "multi", tuple(sorted(pair)), False, text.replace(" the ", " "), form="multi", said=names
    )
    return Pair(there, nothing(none_text, "multi", keyword=none_text.replace(" the ", " ")))
