"""Descriptions of a thing by its attributes, and the paraphrases in which the toy world speaks.

A `Description` is the meaning, `say` gives its words. The last paraphrase of
every tuple of templates is held out of training, see `pick`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from seglm.dataset.toy.scenes import COLOURS, Scene, Split, Thing
from seglm.dataset.toy.shapes import SHAPES

FIELDS = ("size", "colour", "material", "shape")  # in the order in which English puts them
HELD_OUT_LOOKS = frozenset(
    {
        ("purple", "ring"),
        ("yellow", "cross"),
        ("black", "star"),
        ("white", "triangle"),
        ("green", "square"),
        ("blue", "circle"),
    }
)  # (colour, shape) pairs that no training phrase asks for: one per shape, so that no shape word becomes rarer than another
COLOUR_NAMES = tuple(COLOURS)
NOUNS = ("thing", "object")
ABSENT_TRIES = 12

Option = TypeVar("Option")


@dataclass(frozen=True)
class Phrase:
    """Words that ask for things of one scene; true and unambiguous for its targets."""

    text: str
    """a sentence, or words that read on after "the" """
    kind: str
    """class, attribute, position, relation, superlative, reasoning, multi, part; none if nothing fits"""
    targets: tuple[int, ...]
    """indices into Scene.things; empty if the phrase has no referent"""
    is_sentence: bool
    """True if the text is a whole question or order"""
    keyword: str
    """the short name of what is meant, without an article"""
    explanation: str | None = None
    """a sentence that says why, for reasoning"""
    part: str | None = None
    """name of the part that is meant (see scenes.parts), None for whole things"""
    form: str = ""
    """the kind of which the wording is: equal to `kind` unless that is none"""
    said: tuple[str, ...] = field(default=())
    """the attributes of the target that the words give away"""


@dataclass(frozen=True)
class Pair:
    """One wording with two fillings: `there` has a referent in the scene, `absent` has none.

    Both are made of the same template and of words drawn alike, so that the words never tell which of the two it is.
    """

    there: Phrase
    absent: Phrase | None
    """None for wordings that always have a referent ("the largest thing")"""


@dataclass(frozen=True)
class Description:
    """Attributes by which things are named; an empty string says nothing about that attribute."""

    size: str = ""
    """one of SIZES, or empty"""
    colour: str = ""
    """one of COLOURS, or empty"""
    material: str = ""
    """one of MATERIALS, or empty"""
    shape: str = ""
    """one of SHAPES, or empty"""

    def fits(self, thing: Thing) -> bool:
        """True if the description is true of the thing."""
        # Written out: it is asked three hundred times for what is said of one picture.
        return (
            self.shape in ("", thing.shape)
            and self.colour in ("", thing.colour)
            and self.size in ("", thing.size)
            and self.material in ("", thing.material)
        )

    def said(self) -> tuple[str, ...]:
        """The attributes that it names."""
        return tuple(name for name in FIELDS if getattr(self, name))

    def say(self, *, noun: str = "thing", plural: bool = False) -> str:
        """The words, without an article: "small red ring", "red things"."""
        words = [getattr(self, name) for name in FIELDS[:-1] if getattr(self, name)]
        return " ".join([*words, plural_of(self.shape or noun) if plural else self.shape or noun])


def describe(thing: Thing, names: Sequence[str]) -> Description:
    """The description of a thing by these attributes."""
    return Description(**{name: getattr(thing, name) for name in names})


def fitting(scene: Scene, description: Description) -> tuple[int, ...]:
    """Indices of the things of which the description is true."""
    return tuple(i for i, thing in enumerate(scene.things) if description.fits(thing))


def is_held_out(thing: Thing) -> bool:
    """True if no training phrase may ask for a thing of this look."""
    return (thing.colour, thing.shape) in HELD_OUT_LOOKS


def plural_of(noun: str) -> str:
    """The regular English plural."""
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def pick(templates: Sequence[str], rng: np.random.Generator, *, split: Split) -> str:
    """One of the paraphrases; the last is held out: train never draws it, test draws it half of the time."""
    if split != "train" and rng.random() < 0.5:
        return templates[-1]
    return choose(templates[:-1], rng)


def choose(options: Sequence[Option], rng: np.random.Generator) -> Option:
    """A uniform choice; `options` must not be empty."""
    # With the lower bound, NumPy takes half the time: this line is run three hundred times for a picture.
    return options[int(rng.integers(0, len(options)))]


def absent_look(
    scene: Scene,
    names: Sequence[str],
    rng: np.random.Generator,
    *,
    split: Split,
    among: Sequence[int] | None = None,
) -> Description | None:
    """A description by these attributes that fits none of the things `among` (all, if not given); None if none was found.

    The attributes are drawn as those of a present thing are: colour and shape uniformly, size and material (whose odds
    depend on what found room) from a thing of this scene.
    """
    there = scene.things if among is None else [scene.things[i] for i in among]
    # Compared as plain tuples: a description is made of the look that is kept, not of every one that is tried.
    taken = {tuple([getattr(thing, name) for name in names]) for thing in there}
    for _ in range(ABSENT_TRIES):
        model, colour, shape = choose(scene.things, rng), choose(COLOUR_NAMES, rng), choose(SHAPES, rng)
        if split == "train" and (colour, shape) in HELD_OUT_LOOKS:
            continue
        drawn = {"size": model.size, "colour": colour, "material": model.material, "shape": shape}
        look = {name: drawn[name] for name in names}
        if tuple(look.values()) not in taken:
            return Description(**look)
    return None


def may_ask(scene: Scene, targets: Sequence[int], *, split: Split) -> bool:
    """False if a training phrase would ask for a held-out look."""
    return split != "train" or not any(is_held_out(scene.things[i]) for i in targets)


def filled(
    scene: Scene,
    saying: str,
    *,
    kind: str,
    look: Description,
    absent: Description | None,
    targets: tuple[int, ...],
    rng: np.random.Generator,
    split: Split,
    part: str | None = None,
) -> Pair | None:
    """Both fillings of a template with one open place {d}; None if a training phrase may not ask for the targets.

    absent: a look that makes the wording fit nothing; None if there is none.
    """
    if not may_ask(scene, targets, split=split):
        return None
    noun = choose(NOUNS, rng)

    def keyword(description: Description) -> str:
        return description.say() if part is None else f"{part} of {description.say()}"

    text = saying.format(d=look.say(noun=noun))
    there = Phrase(text, kind, targets, False, keyword(look), None, part, kind, look.said())
    if absent is None:
        return Pair(there, None)
    return Pair(
        there, nothing(saying.format(d=absent.say(noun=noun)), kind, keyword=keyword(absent), part=part)
    )


def nothing(
    text: str, form: str, *, keyword: str, is_sentence: bool = False, part: str | None = None
) -> Phrase:
    """A phrase without a referent."""
    return Phrase(text, "none", (), is_sentence, keyword, part=part, form=form)
