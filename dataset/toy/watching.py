"""Questions about a clip that are answered in words: which thing does what, and where it begins and ends.

An answer names a thing by colour and shape and says in which cells of the spoken grid (see `asking`) it is in the first and in
the last of some frames: "It is the red star, f7 to k7."
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seglm.dataset.toy.asking import NOWHERE, Question, where_template
from seglm.dataset.toy.clips import Clip, cast_of
from seglm.dataset.toy.families import BY_NAME, FAMILIES
from seglm.dataset.toy.motion import RANKS
from seglm.dataset.toy.moving_language import anchor_name, expressions, fill
from seglm.dataset.toy.moving_words import EVENTS, inflect
from seglm.dataset.toy.scenes import COLOURS, Scene, Split
from seglm.dataset.toy.shapes import SHAPES
from seglm.dataset.toy.words import Description, choose, describe, fitting, pick

WATCH, DOES, MEANS = "watch", "does", "means"  # kinds of questions
DOES_QUESTIONS = ("What does the {d} do?", "What can you see the {d} do?", "What do you see the {d} do?")
MEANS_QUESTIONS = ("What does one do that {v}?", "Do you know what one does that {v}?")
MAX_WATCHED, MAX_DOES = 9, 4  # questions of a clip
DRAW_ODDS = 0.5  # of the questions for a place
LOOK = ("colour", "shape")
DEEDS: dict[str, tuple[str, str]] = {  # name -> (family, role)
    (f"{family.name} {role}" if family.is_ranked else role): (family.name, role)
    for family in FAMILIES
    for role in (RANKS if family.is_ranked else family.roles)
}


@dataclass(frozen=True)
class Watched(Question):
    """A question about a clip."""

    deed: str = ""
    """of DEEDS, if the question tells one that something does"""
    told_until: int = 0
    """characters of the text up to the end of the words for the deed"""


def deed_of(clip: Clip, thing: int) -> str:
    """What a thing of the cast does, a name of DEEDS."""
    return f"{clip.family} {clip.roles[thing]}" if BY_NAME[clip.family].is_ranked else clip.roles[thing]


def order_of(scene: Scene, targets: Sequence[int]) -> list[int]:
    """The order in which an answer names things: from left to right as they begin."""
    return sorted(targets, key=lambda i: scene.things[i].x)


def clip_questions(
    clip: Clip,
    spots: Sequence[tuple[str, str]],
    rng: np.random.Generator,
    *,
    split: Split,
    draw: bool = False,
) -> list[Watched]:
    """Questions about a clip, with their answers, in random order.

    spots: the cells in which each thing is in the first and in the last frame, NOWHERE if nothing of it is seen. draw: some ask
    for a mask, see `language.questions`.
    """
    asked = [
        *_which(clip, spots, rng, split, draw),
        *_what_they_do(clip, rng, split),
        meaning_question(rng, split=split),
    ]
    return [asked[i] for i in rng.permutation(len(asked))]


def deed_in_words(name: str, anchor: str) -> str:
    """The clause about "it" that says a deed: "stops", "is the second to stop"."""
    family, role = DEEDS[name]
    if BY_NAME[family].is_ranked:
        return f"is the {role} to {EVENTS[family][0]}"
    return inflect(BY_NAME[family].roles[role].verbs[0]).replace("{a}", anchor)


def _which(
    clip: Clip, spots: Sequence[tuple[str, str]], rng: np.random.Generator, split: Split, draw: bool
) -> list[Watched]:
    """What an expression means, by name and by cells."""
    found = []
    for expression in expressions(clip, rng, split=split)[:MAX_WATCHED]:
        phrase = fill(expression.pair, rng)
        asked_to_draw = draw and bool(rng.random() < DRAW_ODDS)
        text = where_template(phrase, rng, split, draw=asked_to_draw).format(d=phrase.text)
        order = order_of(clip.scenes[0], phrase.targets)
        named = [f"the {describe(clip.things[i], LOOK).say()}, {' to '.join(spots[i])}" for i in order]
        answer = f"{'Sure, it' if asked_to_draw else 'It'} is {' and '.join(named) or NOWHERE}."
        is_deed = bool(order) and expression.family != "looks"
        until = text.index(phrase.text) + len(phrase.text.rstrip("?"))
        deed = deed_of(clip, order[0]) if is_deed else ""
        found.append(Watched(text, answer, WATCH, phrase.kind, phrase.targets, deed, until))
    return found


def _what_they_do(clip: Clip, rng: np.random.Generator, split: Split) -> list[Watched]:
    """What a thing does that its look tells from the others."""
    found, cast = [], cast_of(clip)
    for index in [cast[i] for i in rng.permutation(len(cast))][:MAX_DOES]:
        name = describe(clip.things[index], choose((LOOK, LOOK, ("colour",), ("shape",)), rng))
        if fitting(clip.scenes[0], name) == (index,):
            text = pick(DOES_QUESTIONS, rng, split=split).format(d=name.say())
            answer = f"It {deed_in_words(deed_of(clip, index), anchor_name(clip))}."
            found.append(Watched(text, answer, DOES, BY_NAME[clip.family].kind, (index,)))
    return found


def meaning_question(rng: np.random.Generator, *, split: Split) -> Watched:
    """What everybody knows, without looking; the wordings that no training phrase uses are among them."""
    name = choose([name for name, (family, _) in DEEDS.items() if not BY_NAME[family].is_ranked], rng)
    family, role = DEEDS[name]
    words = BY_NAME[family].roles[role]
    anchor = Description(colour=choose(tuple(COLOURS), rng), shape=choose(SHAPES, rng)).say()
    verb = inflect(choose((*words.verbs, *words.likenesses), rng)).replace("{a}", anchor)
    text = pick(MEANS_QUESTIONS, rng, split=split).format(v=verb)
    return Watched(
        text, f"It {deed_in_words(name, anchor)}.", MEANS, "", (), name, text.index(verb) + len(verb)
    )
