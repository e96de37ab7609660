"""Captions whose phrases are grounded: everything in a picture, from left to right, things of one look named together."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from seglm.dataset.toy.asking import NUMBERS
from seglm.dataset.toy.scenes import Scene, Split
from seglm.dataset.toy.words import describe, pick, plural_of

OPENINGS = (
    "In this picture there is ",
    "The picture shows ",
    "There is ",
    "I see ",
)  # the last is held out of training
LOOK = ("size", "colour", "material", "shape")


@dataclass(frozen=True)
class Told:
    """A caption, and what of it means which things."""

    text: str
    spans: tuple[tuple[int, int, tuple[int, ...]], ...]
    """(first character, behind the last, indices into Scene.things), in the order of the text"""


def grounded_caption(scene: Scene, rng: np.random.Generator, *, split: Split) -> Told:
    """Every thing is in exactly one phrase: "There is a small red ring, two blue squares and a star."."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(scene.things)), key=lambda i: scene.things[i].x):
        groups[describe(scene.things[index], LOOK).say()].append(index)
    text, spans = pick(OPENINGS, rng, split=split), []
    for number, (name, things) in enumerate(groups.items()):
        text += "" if number == 0 else " and " if number == len(groups) - 1 else ", "
        phrase = f"a {name}" if len(things) == 1 else f"{NUMBERS[len(things)]} {plural_of(name)}"
        spans.append((len(text), len(text) + len(phrase), tuple(things)))
        text += phrase
    return Told(f"{text}.", tuple(spans))
