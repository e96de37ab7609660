"""The golden probe: a loaded model is asked again, and a wrong part is found before any evaluation is."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seglm.model import probe
from seglm.model.backbones.templates import template
from seglm.model.scripts import one_question_a_target
from seglm.utils.types import Clip, Dialogue, Script
from tests.tiny import tiny_model

SOURCE = "a model"


def test_the_same_model_answers_alike_and_stays_in_training() -> None:
    model = tiny_model().train()
    first, second = probe.read(model), probe.read(model)
    assert probe.compare(second, first, precision="fp32", source=SOURCE) == dict.fromkeys(probe.READINGS, 0.0)
    assert model.training


@pytest.mark.parametrize(
    "part, reading",
    [
        ("decoder.mask_decoder.output_hypernetworks_mlps.0.layers.2.weight", "masks"),
        ("decoder.image_encoder.neck.0.weight", "masks"),
        ("project.2.weight", "embedding"),
        ("backbone.llm.lm_head.weight", "logits"),
        ("backbone.vision.encoder.layers.0.mlp.fc1.weight", "embedding"),
        ("backbone.projector.weight", "embedding"),
        ("backbone.llm.model.layers.1.self_attn.q_proj.lora_B.default.weight", "embedding"),
    ],
)
def test_a_part_that_was_initialised_anew_is_found(part: str, reading: str) -> None:
    model = tiny_model()
    before = probe.read(model)
    with torch.no_grad():
        weight = model.get_parameter(part)
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(5)) * weight.std())
    with pytest.raises(probe.ProbeFailed, match=rf"{reading} differs by"):
        probe.compare(probe.read(model), before, precision="fp32", source=SOURCE)


def test_another_tokenizer_is_found_by_its_ids() -> None:
    reading = probe.read(tiny_model())
    other = {**reading, "ids": reading["ids"] + 1}
    with pytest.raises(probe.ProbeFailed, match="the tokenizer beside the weights is not the one"):
        probe.compare(reading, other, precision="fp32", source=SOURCE)


def test_a_reading_that_is_not_a_number_never_passes() -> None:
    reading = probe.read(tiny_model())
    broken = {**reading, "masks": reading["masks"] * torch.nan}
    with pytest.raises(probe.ProbeFailed, match="masks differs by nan"):
        probe.compare(broken, reading, precision="bf16", source=SOURCE)


def test_the_coarser_precision_sets_the_tolerance(tmp_path: Path) -> None:
    model = tiny_model()
    reading = probe.read(model)
    probe.write(tmp_path, {**reading, "masks": reading["masks"] * 1.03})
    assert probe.check(model, tmp_path, saved="bf16")["masks"] > probe.TOLERANCE["fp32"]
    with pytest.raises(probe.ProbeFailed):
        probe.check(model, tmp_path, saved="fp32")


def test_a_folder_without_a_probe_is_not_asked(tmp_path: Path) -> None:
    assert probe.check(tiny_model(), tmp_path, saved="fp32") == {}


@pytest.mark.parametrize("name", ["training", "question"])
def test_another_wording_is_an_error_and_not_another_model(name: str) -> None:
    model = tiny_model()
    before = probe.read(model)

    def other(clip: Clip, *rest: object) -> Script:
        (*turns, last) = one_question_a_target(clip, model.recipe)[0].turns
        return (
            Dialogue(
                (*turns, replace(last, question=(*last.question, " Please!"))),
            ),
        )

    model.recipe = replace(
        model.recipe, **{"training": {"script": other}, "question": {"prompt": other}}[name]
    )
    with pytest.raises(probe.ProbeFailed, match=rf"its recipe's {name} reads .*Please!"):
        probe.compare(probe.read(model), before, precision="fp32", source=SOURCE)


def test_another_template_is_an_error() -> None:
    model = tiny_model()
    before = probe.read(model)
    model.encoder = copy(model.encoder)
    model.encoder.template = template("llava_llama_2")
    now = before | probe.sayings(model)
    with pytest.raises(probe.ProbeFailed, match=r"its recipe's training reads .*INST"):
        probe.compare(now, before, precision="fp32", source=SOURCE)


def test_a_folder_of_before_that_keeps_no_words_is_compared_by_its_numbers() -> None:
    reading = probe.read(tiny_model())
    older = {key: value for key, value in reading.items() if not key.startswith(probe.SAYINGS)}
    assert probe.compare(reading, older, precision="fp32", source=SOURCE) == dict.fromkeys(
        probe.READINGS, 0.0
    )
