"""In which words Sa2VA asks for an expression."""

from __future__ import annotations

import numpy as np
import pytest

from seglm.model.systems.sa2va import one_question_each, question_for, turn_by_turn
from tests.model.test_sa2va import RECIPE, clip, target

RNG = np.random.default_rng


@pytest.mark.parametrize(
    "text, is_sentence, want",
    [("The dog. It runs.", False, "the dog it runs"), ("Find what barks.", True, "Find what barks. Please")],
)
def test_an_expression_becomes_a_question(text: str, is_sentence: bool, want: str) -> None:
    assert want in question_for(text, RNG(0), is_sentence=is_sentence)


@pytest.mark.parametrize(
    "key, is_sentence, frames, stands",
    [
        ("revos|train/0", True, 2, True),  # as the readers of videos mark a question
        ("my_data|train/0", True, 1, True),
        ("ReasonSeg|train/0", True, 1, False),
        ("refcoco|unc|train/0", False, 1, False),  # "the man, right?" is a phrase
    ],
)
def test_a_question_is_asked_as_it_stands_in_training_and_after(
    key: str, is_sentence: bool, frames: int, stands: bool
) -> None:
    asked = clip(target("which dog runs?", is_sentence=is_sentence), frames=frames, key=key)
    for script in (turn_by_turn(asked, RNG(0), RECIPE), one_question_each(asked, RECIPE)):
        assert (script[0].turns[0].question[-1] == "which dog runs?") is stands


def test_validation_asks_for_each_target_in_a_dialogue_of_its_own() -> None:
    still = one_question_each(
        clip(target("the dog"), target("Which runs?", is_sentence=True), frames=1), RECIPE
    )
    assert [dialogue.turns[0].question[-1] for dialogue in still] == [
        " Please segment the dog in this image.",
        "Which runs?",
    ]
    [video] = one_question_each(clip(target("the dog")), RECIPE)
    assert video.turns[0].question[-1] == "Please segment the dog."
