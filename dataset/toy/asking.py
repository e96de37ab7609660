"""Questions about a scene that are answered in words.

Places are spoken as on a chess board of 16 x 16 cells: the column a to p from the left, the row 1 to 16 from the top. "f7, 3
by 4" is a visible box with its centre in cell f7, 3 cells wide and 4 high (1 at least).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seglm.dataset.toy.facts import FACTS
from seglm.dataset.toy.scenes import (
    COLOURS,
    MATERIALS,
    SIZES,
    Mask,
    Scene,
    Split,
    Thing,
    parts,
    visible_masks,
)
from seglm.dataset.toy.shapes import SHAPES
from seglm.dataset.toy.words import (
    Description,
    Phrase,
    absent_look,
    choose,
    describe,
    fitting,
    is_held_out,
    pick,
    plural_of,
)

COLUMNS = "abcdefghijklmnop"
CELLS = len(COLUMNS)  # a side of the spoken grid
LOOK_KINDS = ("attribute", "position", "relation", "superlative", "reasoning")  # phrases that name one thing
LOOK_QUESTIONS: dict[str, tuple[str, ...]] = {
    "colour": ("What colour is the {d}?", "What is the colour of the {d}?", "Which colour has the {d}?"),
    "shape": ("What shape is the {d}?", "What is the shape of the {d}?", "Which shape has the {d}?"),
    "size": ("How big is the {d}?", "What is the size of the {d}?", "Which size has the {d}?"),
    "material": (
        "What pattern has the {d}?",
        "What is the pattern of the {d}?",
        "Which pattern has the {d}?",
    ),
}
VALUES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "size": SIZES,
    "material": MATERIALS,
}
WHERE_QUESTIONS = ("Where is the {d}?", "Where do you see the {d}?", "Where can you see the {d}?")
WHERE_SENTENCES = ("{d} Where is it?", "{d} Where do you see it?", "{d} Where can you see it?")
DRAW_QUESTIONS = (  # asked for a mask the talking base, which has none, names the place
    "Can you segment the {d} in this image?",
    "Please segment the {d} in this image.",
    "What is {d} in this image? Please respond with segmentation mask.",
    "What is {d} in this image? Please output segmentation mask.",
)
DRAW_ODDS = 0.35  # of the questions for a place
DRAW_SENTENCES = ("{d} Please respond with segmentation mask.", "{d} Please output segmentation mask.")
SPOT_QUESTIONS = ("What is at {p}?", "What do you see at {p}?", "What can you see at {p}?")
EXIST_QUESTIONS = ("Is there a {d}?", "Can you see a {d}?", "Do you see a {d}?")
COUNT_QUESTIONS = ("How many {ds} are there?", "How many {ds} do you see?", "How many {ds} can you see?")
CAPTION_QUESTIONS = ("Describe the image.", "What is in the picture?", "What do you see in the image?")
FACT_QUESTIONS = ("Which {f} {v}?", "Tell me which {f} {v}.", "Do you know which {f} {v}?")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
PLAIN_NAMINGS: tuple[tuple[str, ...], ...] = (
    ("shape",),
    ("colour",),
    ("size",),
    ("colour", "shape"),
    ("size", "shape"),
    ("size", "colour"),
)
_SORTS = {"colour": "colour", "shape": "shape", "material": "pattern"}
NOWHERE = "nowhere"
MAX_LOOKS, MAX_WHERES, MAX_SPOTS, MAX_EXISTS, MAX_COUNTS, MAX_FACTS = (
    10,
    16,
    3,
    3,
    2,
    1,
)  # questions per scene


@dataclass(frozen=True)
class Question:
    """A question in words with its answer in words."""

    text: str
    """the question"""
    answer: str
    """the only right answer, to the letter"""
    kind: str
    """colour, shape, size, material, where, spot, exist, count, fact, caption"""
    form: str = ""
    """kind of the phrase in the question, where it holds one (attribute, relation, ..., none)"""
    targets: tuple[int, ...] = ()
    """indices of the things that the question is about, where it is about some"""


def spoken_spot(mask: Mask) -> str:
    """The cell of the centre of a mask's box, "f7"; `mask` is bool [H, W] and not empty."""
    column, row, _, _ = _cells(mask)
    return f"{COLUMNS[column]}{row + 1}"


def spoken_box(mask: Mask) -> str:
    """A mask's box in words, "f7, 3 by 4"; `mask` is bool [H, W] and not empty."""
    _, _, width, height = _cells(mask)
    return f"{spoken_spot(mask)}, {width} by {height}"


def look_questions(
    scene: Scene, phrased: Sequence[Phrase], rng: np.random.Generator, *, split: Split
) -> list[Question]:
    """Colour, shape, size and pattern of things that are named by something else."""
    found = []
    for phrase in phrased:
        if phrase.form not in LOOK_KINDS or phrase.is_sentence or len(phrase.targets) != 1:
            continue
        kind = choose(tuple(LOOK_QUESTIONS), rng)
        if kind not in phrase.said:
            found.append(_look(scene, phrase.targets[0], kind, phrase.text, phrase.form, rng, split))
    for _ in range(MAX_LOOKS):
        index, kind = int(rng.integers(len(scene.things))), choose(tuple(LOOK_QUESTIONS), rng)
        names = choose([n for n in PLAIN_NAMINGS if kind not in n], rng)
        description = describe(scene.things[index], names)
        held_out = split == "train" and is_held_out(scene.things[index])
        if fitting(scene, description) == (index,) and not held_out:
            found.append(_look(scene, index, kind, description.say(), "attribute", rng, split))
    return found[:MAX_LOOKS]


def where_questions(
    scene: Scene, phrased: Sequence[Phrase], rng: np.random.Generator, *, split: Split, draw: bool
) -> list[Question]:
    """Where the targets of each phrase are; "nowhere" for phrases without a referent. draw: some ask for a mask."""
    masks = visible_masks(scene)
    found = []
    for phrase in phrased[:MAX_WHERES]:
        asked_to_draw = draw and bool(rng.random() < DRAW_ODDS)
        answer = "Sure, it is {b}." if asked_to_draw else "It is {b}."
        text = where_template(phrase, rng, split, draw=asked_to_draw).format(d=phrase.text)
        meant = [masks[i] for i in sorted(phrase.targets, key=lambda i: scene.things[i].x)]
        if phrase.part is not None and phrase.targets:
            meant = [parts(scene, phrase.targets[0])[phrase.part]]
        boxes = " and ".join(spoken_box(mask) for mask in meant) or NOWHERE
        found.append(Question(text, answer.format(b=boxes), "where", phrase.kind, phrase.targets))
    return found


def spot_questions(scene: Scene, rng: np.random.Generator, *, split: Split) -> list[Question]:
    """What is seen at the centre of a thing's box."""
    masks = visible_masks(scene)
    spots = [spoken_spot(mask) for mask in masks]
    picked = [int(i) for i in rng.permutation(len(spots))[:MAX_SPOTS] if spots.count(spots[i]) == 1]
    templates = [pick(SPOT_QUESTIONS, rng, split=split) for _ in picked]
    return [
        Question(t.format(p=spots[i]), f"A {_full_name(scene.things[i])}.", "spot")
        for t, i in zip(templates, picked, strict=True)
    ]


def exist_questions(scene: Scene, rng: np.random.Generator, *, split: Split) -> list[Question]:
    """Yes or no, each half of the time for every wording."""
    found = []
    for _ in range(MAX_EXISTS):
        names = choose((("colour", "shape"), ("colour",), ("shape",), ("size", "shape")), rng)
        thing = choose(scene.things, rng)
        there, absent = describe(thing, names), absent_look(scene, names, rng, split=split)
        if absent is not None and not (split == "train" and is_held_out(thing)):
            is_there = bool(rng.random() < 0.5)
            text = pick(EXIST_QUESTIONS, rng, split=split).format(d=(there if is_there else absent).say())
            found.append(Question(text, "Yes." if is_there else "No.", "exist"))
    return found


def count_questions(scene: Scene, rng: np.random.Generator, *, split: Split) -> list[Question]:
    """How many things of a colour or shape: the number is drawn first, so that no word is told by its number."""
    found = []
    for _ in range(MAX_COUNTS):
        attribute = choose(("colour", "shape"), rng)
        number = int(rng.integers(3))
        counts = {v: len(fitting(scene, Description(**{attribute: v}))) for v in VALUES[attribute]}
        fit = [value for value, count in counts.items() if count == number]
        if set(counts.values()) >= {0, 1, 2}:
            words = Description(**{attribute: choose(fit, rng)}).say(plural=True)
            text = pick(COUNT_QUESTIONS, rng, split=split).format(ds=words)
            found.append(Question(text, f"{NUMBERS[number].capitalize()}.", "count"))
    text = pick(COUNT_QUESTIONS, rng, split=split).format(ds=plural_of("thing"))
    return [*found, Question(text, f"{NUMBERS[len(scene.things)].capitalize()}.", "count")]


def fact_questions(rng: np.random.Generator, *, split: Split) -> list[Question]:
    """What everybody knows, without looking; the facts that no training phrase asks are among them."""
    found = []
    for _ in range(MAX_FACTS):
        fact = choose(FACTS, rng)
        text = pick(FACT_QUESTIONS, rng, split=split).format(f=_SORTS[fact.attribute], v=fact.verb)
        found.append(
            Question(
                text, f"It is {fact.value}." if fact.attribute != "shape" else f"The {fact.value}.", "fact"
            )
        )
    return found


def caption(scene: Scene, rng: np.random.Generator, *, split: Split) -> Question:
    """Everything in the picture, from left to right."""
    masks = visible_masks(scene)
    order = sorted(range(len(scene.things)), key=lambda i: scene.things[i].x)
    named = [f"a {_full_name(scene.things[i])} at {spoken_spot(masks[i])}" for i in order]
    return Question(pick(CAPTION_QUESTIONS, rng, split=split), f"There is {', '.join(named)}.", "caption")


def _look(
    scene: Scene, index: int, kind: str, name: str, form: str, rng: np.random.Generator, split: Split
) -> Question:
    text = pick(LOOK_QUESTIONS[kind], rng, split=split).format(d=name)
    value = getattr(scene.things[index], kind)
    return Question(text, f"It is a {value}." if kind == "shape" else f"It is {value}.", kind, form, (index,))


def where_template(phrase: Phrase, rng: np.random.Generator, split: Split, *, draw: bool) -> str:
    """A question for the place of what a phrase {d} means; `draw`: one of those that ask for a mask."""
    if draw:
        return choose(DRAW_SENTENCES if phrase.is_sentence else DRAW_QUESTIONS, rng)
    return pick(WHERE_SENTENCES if phrase.is_sentence else WHERE_QUESTIONS, rng, split=split)


def _full_name(thing: Thing) -> str:
    return describe(thing, ("size", "colour", "material", "shape")).say()


def _cells(mask: Mask) -> tuple[int, int, int, int]:
    """Column and row of the centre of the box (from 0), its width and height (1 at least), in cells."""
    spans = []
    for axis in (0, 1):
        filled = np.flatnonzero(mask.any(axis=axis))
        low, high = int(filled[0]), int(filled[-1]) + 1
        scale = CELLS / mask.shape[1 - axis]
        spans.append((int(0.5 * (low + high) * scale), max(1, round((high - low) * scale))))
    (column, width), (row, height) = spans
    return column, row, width, height
