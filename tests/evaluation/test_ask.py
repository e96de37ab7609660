"""Questions to a tiny model of the real classes, through the whole way from picture to mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seglm.dataset.pipeline import shown
from seglm.evaluation.asking.ask import (
    ask,
    asker,
    asks_for_mask,
    filled_in,
    speak,
)
from seglm.evaluation.asking.predict import batches, predict
from seglm.evaluation.scores.first_mask import mask_of
from seglm.utils.types import Dialogue, Sample, Slot, Turn
from tests.evaluation.fakes import BENCHMARK, HEIGHT, WIDTH, FakeSource, answered, rectangle
from tests.tiny import tiny_model, tiny_recipe


def samples(count: int) -> list[Sample]:
    selection = BENCHMARK.select(FakeSource(count))
    return [selection.sample(number) for number in range(count)]


@pytest.mark.parametrize("protocol", ["generate", "forced"])
def test_every_target_of_every_picture_gets_one_answer(protocol: str) -> None:
    drawn = list(asker(tiny_model(), protocol=protocol, max_new_tokens=4)(samples(3)))  # type: ignore[arg-type]
    assert [(one.sample, one.frame, len(one.answers)) for one in drawn] == [(0, 0, 2), (1, 0, 2), (2, 0, 2)]
    for answer in (answer for one in drawn for answer in one.answers):
        assert len(answer.masks) == len(answer.spoken.tokens)
        assert all(mask is not None and mask.shape == (HEIGHT, WIDTH) for mask in answer.masks)
        assert (answer.spoken.status == "ok") == bool(answer.spoken.tokens)
        assert protocol == "generate" or answer.spoken.tokens == ("[SEG]",)


def test_a_forced_answer_is_one_slot_and_a_full_stop() -> None:
    (sample,), recipe = samples(1), tiny_recipe()
    script = filled_in(recipe.prompt(shown(sample, (0,)), recipe), recipe)
    assert [dialogue.turns[-1].answer for dialogue in script] == [
        (Slot("[SEG]", 0, ()), "."),
        (Slot("[SEG]", 1, ()), "."),
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
    assert [(one.said.status, one.said.slots, one.found.predicted) for one in results] == [
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
    for text, status in (("Which colour is it?", "not_asked"), ("Segment it.", "no_seg_token")):
        [drawn] = ask(model, FakeSource(1).sample(0), text, max_new_tokens=2)
        assert [answer.spoken.status for answer in drawn.answers] == [status]


def test_a_typed_slot_is_words_and_a_question_too_long_is_an_error() -> None:
    model = tiny_model()
    sample = FakeSource(1).sample(0)
    assert list(ask(model, sample, "What does [SEG] mean?", max_new_tokens=2))
    with pytest.raises(
        ValueError, match=r"a question of \d+ tokens.*at most 512 fit \(--model_max_length \d+"
    ):
        list(ask(model, sample, "very " * 600, max_new_tokens=2))


def test_open_and_complete_dialogues_do_not_mix() -> None:
    model, clip = tiny_model(), shown(samples(1)[0], (0,))
    question = model.recipe.prompt(clip, model.recipe)
    mixed = (question[0], Dialogue((Turn(question[1].turns[0].question, ("Yes.",)),)))
    with pytest.raises(ValueError, match=r"ReasonSeg\|val/000.*open and complete dialogues"):
        speak(model, [(clip, mixed)], max_new_tokens=2)


def test_the_first_mask_is_scored_and_no_mask_is_empty() -> None:
    two = answered(rectangle(2, 3), slots=2)
    np.testing.assert_array_equal(mask_of(two, (HEIGHT, WIDTH)), rectangle(2, 3))
    assert not mask_of(answered(None), (HEIGHT, WIDTH)).any()


def test_training_mode_is_given_back() -> None:
    model = tiny_model().train()
    assert list(asker(model, protocol="forced", max_new_tokens=1)(samples(1)))
    assert model.training
