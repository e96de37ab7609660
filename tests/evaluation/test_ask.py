"""Questions to a tiny model of the real classes, through the whole way from picture to mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seglm.dataset.pipeline import clip
from seglm.evaluation.asking.ask import (
    answers,
    ask,
    asker,
    asks_for_mask,
    filled_in,
)
from seglm.evaluation.asking.predict import batches, predict
from seglm.evaluation.scores.first_mask import mask_of
from seglm.utils.types import Clip, Dialogue, Frames, Slot, Turn
from tests.evaluation.fakes import BENCHMARK, HEIGHT, WIDTH, FakeSource, answered, rectangle
from tests.tiny import tiny_model, tiny_recipe


def clips(count: int) -> list[Clip]:
    selection, frames = BENCHMARK.select(FakeSource(count)), Frames(seen=(0,), drawn=(0,))
    return [clip(selection.sample(number), frames=frames) for number in range(count)]


@pytest.mark.parametrize("protocol", ["generate", "forced"])
def test_every_target_of_every_picture_gets_one_answer(protocol: str) -> None:
    spoken = asker(tiny_model(), protocol=protocol, max_new_tokens=4)(clips(3))  # type: ignore[arg-type]
    assert [len(row) for row in spoken] == [2, 2, 2]
    for answer in (one for row in spoken for one in row):
        assert answer.masks.shape == (len(answer.tokens), 1, HEIGHT, WIDTH)
        assert (answer.status == "ok") == bool(answer.tokens)
    if protocol == "forced":
        assert all(answer.tokens == ("[SEG]",) for row in spoken for answer in row)


def test_a_forced_answer_is_one_slot_and_a_full_stop() -> None:
    (shown,), recipe = clips(1), tiny_recipe()
    script = filled_in(recipe.prompt(shown, recipe), recipe, shown)
    assert [dialogue.turns[-1].answer for dialogue in script] == [
        (Slot("[SEG]", 0, (0,)), "."),
        (Slot("[SEG]", 1, (0,)), "."),
    ]


def test_a_model_that_writes_no_slot_gets_an_empty_mask_and_is_counted() -> None:
    model = tiny_model()
    with torch.no_grad():  # the slot can never be written
        model.backbone.llm.lm_head.weight[model.encoder.token_id("[SEG]")] = 0
        model.backbone.llm.lm_head.weight[7] *= 9
    results = predict(
        asker(model, protocol="generate", max_new_tokens=3),
        BENCHMARK.select(FakeSource(2)),
        model.recipe,
        batches(2, 2),
    )
    assert [(one.said.status, one.said.slots, one.counts.predicted) for one in results] == [
        ("no_seg_token", 0, 0)
    ] * 4


@pytest.mark.parametrize(
    "text, asked",
    [
        ("Please segment the cup.", True),
        ("What is the cup? Please output segmentation mask.", True),
        ("Highlight what could roll away", True),
        ("What colour is the cup?", False),
        ("Is the masking tape on the table?", False),  # a word that only begins like one
    ],
)
def test_a_question_without_a_word_for_a_mask_did_not_ask_for_one(text: str, asked: bool) -> None:
    assert asks_for_mask(text) == asked


def test_not_asked_and_no_slot_produced_are_told_apart() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.backbone.llm.lm_head.weight[model.encoder.token_id("[SEG]")] = 0
        model.backbone.llm.lm_head.weight[7] *= 9
    picture = FakeSource(1).sample(0).frame(0)
    assert ask(model, picture, "Which colour is it?", max_new_tokens=2).status == "not_asked"
    assert ask(model, picture, "Segment it.", max_new_tokens=2).status == "no_seg_token"


def test_a_typed_slot_is_words_and_a_question_too_long_is_an_error() -> None:
    model = tiny_model()
    picture = FakeSource(1).sample(0).frame(0)
    ask(model, picture, "What does [SEG] mean?", max_new_tokens=2)
    with pytest.raises(
        ValueError, match=r"a question of \d+ tokens.*at most 512 fit \(--model_max_length \d+"
    ):
        ask(model, picture, "very " * 600, max_new_tokens=2)


def test_open_and_complete_dialogues_do_not_mix() -> None:
    model, (shown,) = tiny_model(), clips(1)
    question = model.recipe.prompt(shown, model.recipe)
    mixed = (question[0], Dialogue((Turn(question[1].turns[0].question, ("Yes.",)),)))
    with pytest.raises(ValueError, match=r"ReasonSeg\|val/000.*open and complete dialogues"):
        answers(model, [shown], [mixed], max_new_tokens=2)


def test_the_first_mask_is_scored_and_no_mask_is_empty() -> None:
    two = answered(rectangle(2, 3), slots=2)
    np.testing.assert_array_equal(mask_of(two, (HEIGHT, WIDTH)), rectangle(2, 3))
    assert not mask_of(answered(None), (HEIGHT, WIDTH)).any()


def test_training_mode_is_given_back() -> None:
    model = tiny_model().train()
    asker(model, protocol="forced", max_new_tokens=1)(clips(1))
    assert model.training
