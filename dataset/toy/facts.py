"""What everybody knows about colours, shapes and materials: the implicit half of the toy world's reasoning.

A fact is a verb phrase that is true of exactly one value of one attribute, with the reason in words. Facts that are `held_out`
are never asked in a training phrase: the talking base knows them from questions without a picture ("Which colour has ...?"),
so that the test phrases measure whether knowledge reaches the masks.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """One thing that everybody knows."""

    attribute: str
    """field of Thing: colour, shape or material"""
    value: str
    """the one value of which it is true"""
    verb: str
    """verb phrase that continues "the thing that ..." """
    reason: str
    """full clause without a full stop"""
    held_out: bool
    """True if no training phrase asks it"""


COLOURED: dict[str, tuple[str, ...]] = {  # the last of each is held out
    "red": ("blood", "a ripe strawberry", "a fire engine", "a ruby"),
    "green": ("grass", "a frog", "a leaf", "a cucumber"),
    "blue": ("the clear sky", "the deep sea", "a blueberry", "a sapphire"),
    "yellow": ("a lemon", "a ripe banana", "the sun", "butter"),
    "orange": ("a carrot", "a pumpkin", "a fox", "a basketball"),
    "purple": ("an eggplant", "a violet", "a plum", "lavender"),
    "white": ("snow", "milk", "chalk", "salt"),
    "black": ("coal", "the night", "a raven", "ink"),
}
SHAPED: dict[str, tuple[str, ...]] = {  # the last of each is held out
    "circle": (
        "could roll away like a ball",
        "looks like the full moon",
        "looks like a coin",
        "looks like a dinner plate",
    ),
    "square": ("has four equal sides", "looks like a window", "looks like a chess board", "looks like a box"),
    "triangle": (
        "has three corners",
        "looks like a slice of pizza",
        "looks like a roof",
        "looks like a sail",
    ),
    "ring": (
        "has a hole in the middle",
        "could be worn on a finger",
        "looks like a doughnut",
        "looks like a tyre",
    ),
    "cross": ("looks like a plus sign", "has four arms", "marks a hospital", "looks like a crossroads"),
    "star": (
        "has five points",
        "shines at night",
        "sits on top of a christmas tree",
        "looks like a starfish",
    ),
}
PATTERNED: dict[str, tuple[str, ...]] = {  # the last of each is held out
    "striped": ("a zebra", "a tiger", "a barber pole"),
    "dotted": ("a ladybird", "a dalmatian", "a domino"),
}


def all_facts() -> tuple[Fact, ...]:
    """Every fact of the world, in a fixed order."""
    facts: list[Fact] = []
    for colour, things in COLOURED.items():
        for name in things:
            verb, reason = f"has the colour of {name}", f"the colour of {name} is {colour}"
            facts.append(Fact("colour", colour, verb, reason, name == things[-1]))
    for shape, verbs in SHAPED.items():
        for verb in verbs:
            facts.append(Fact("shape", shape, verb, f"a {shape} {verb}", verb == verbs[-1]))
    for material, animals in PATTERNED.items():
        for name in animals:
            verb, reason = f"is patterned like {name}", f"the pattern of {name} is {material}"
            facts.append(Fact("material", material, verb, reason, name == animals[-1]))
    return tuple(facts)


FACTS = all_facts()
