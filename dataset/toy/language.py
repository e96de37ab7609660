"""The toy world's language: phrases that ask for things (to be answered by masks) and questions (to be answered in words).

Everything said is true of the scene and unambiguous. No text tells by itself whether something fits it: phrases of kind `none`
and answers of yes/no and count questions are drawn so that the words are independent of them (tests/toy holds a text-only
classifier at chance).
"""

from collections.abc import Callable

import numpy as np

from seglm.dataset.toy import asking
from seglm.dataset.toy.asking import Question as Question
from seglm.dataset.toy.crowds import couple_form, crowd_form
from seglm.dataset.toy.reasoning import reasoning_form
from seglm.dataset.toy.referring import (
    Form,
    attribute_form,
    class_form,
    part_form,
    position_form,
    superlative_form,
)
from seglm.dataset.toy.relating import relation_form
from seglm.dataset.toy.scenes import Scene, Split
from seglm.dataset.toy.words import Phrase as Phrase

FORMS: tuple[tuple[Form, int], ...] = (  # with the number of tries per scene
    (class_form, 2),
    (attribute_form, 5),
    (position_form, 5),
    (relation_form, 8),
    (superlative_form, 5),
    (reasoning_form, 8),
    (crowd_form, 3),
    (couple_form, 1),
    (part_form, 3),
)
NONE_ODDS = 0.2  # of a wording that can be filled both ways


def phrases(scene: Scene, rng: np.random.Generator, *, split: Split) -> list[Phrase]:
    """Phrases of all kinds for a scene, in random order, none twice; every phrase is true and unambiguous."""
    found: dict[str, Phrase] = {}
    for form, tries in FORMS:
        for _ in range(tries):
            pair = form(scene, rng, split)
            if pair is None:
                continue
            said = pair.absent if pair.absent is not None and rng.random() < NONE_ODDS else pair.there
            found.setdefault(said.text, said)
    listed = list(found.values())
    return [listed[i] for i in rng.permutation(len(listed))]


def questions(scene: Scene, rng: np.random.Generator, *, split: Split, draw: bool = False) -> list[Question]:
    """Questions of all kinds for a scene, with their answers, in random order; no text twice.

    draw: some ask for a mask. The talking base, which has none, learns from them to name the place; whoever learns to draw is not
    told so.
    """
    asked: dict[str, Question] = {}
    phrased = phrases(scene, rng, split=split)
    makers: tuple[Callable[[], list[Question]], ...] = (
        lambda: asking.look_questions(scene, phrased, rng, split=split),
        lambda: asking.where_questions(scene, phrased, rng, split=split, draw=draw),
        lambda: asking.spot_questions(scene, rng, split=split),
        lambda: asking.exist_questions(scene, rng, split=split),
        lambda: asking.count_questions(scene, rng, split=split),
        lambda: asking.fact_questions(rng, split=split),
        lambda: [asking.caption(scene, rng, split=split)],
    )
    for make in makers:
        for question in make():
            asked.setdefault(question.text, question)
    listed = list(asked.values())
    return [listed[i] for i in rng.permutation(len(listed))]
