"""Folders of Qwen-VL, as released and as transformers has them, and settings that no Qwen-VL takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seglm.model.build import assemble, base_weights
from seglm.model.recipes import recipe as named
from seglm.model.released.errors import Ambiguous, WeightsError, WrongNames
from seglm.model.released.identify import identify, layout_of
from seglm.model.released.open import open_weights
from seglm.model.released.qwen_vl import write_qwen_vl
from tests.tiny_qwen import (
    ROPE,
    choice,
    sizes_of,
    theirs,
    tiny_recipe,
    tokenizer,
    write,
)


# ---- folders --------------------------------------------------------------------------------------------------------
def test_a_folder_is_read_strictly_and_written_as_it_was(kind: str, folder: Path, tmp_path: Path) -> None:
    assert layout_of(folder) == "backbone"
    found, stored = open_weights(str(folder)), load_file(folder / "model.safetensors")
    assert found.kind == "qwen_vl" and len(found.tensors) == len(stored)
    write_qwen_vl(tmp_path / "again", found.tensors, sizes=sizes_of(folder), tokenizer=tokenizer())
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert set(again) == set(stored) and all(torch.equal(again[name], stored[name]) for name in stored)
    before, after = open_weights(str(folder)), open_weights(str(tmp_path / "again"))
    assert (before.llm, before.vision) == (after.llm, after.vision)


def test_transformers_before_5_finds_its_own_keys(kind: str, folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    tensors = open_weights(str(folder)).tensors
    write_qwen_vl(again, tensors, sizes=sizes_of(folder), tokenizer=tokenizer(), base=str(folder))
    text = json.loads((again / "config.json").read_text())["text_config"]
    assert text["rope_theta"] == ROPE[kind]["rope_theta"]
    assert text["rope_scaling"]["mrope_section"] == ROPE[kind]["mrope_section"]
    said = json.loads((again / "tokenizer_config.json").read_text())
    assert said["tokenizer_class"] == "PreTrainedTokenizerFast"
    added = {token["content"]: int(number) for number, token in said["added_tokens_decoder"].items()}
    assert added == json.loads((again / "added_tokens.json").read_text()) == tokenizer().get_added_vocab()


def test_the_names_of_transformers_module_tree_are_read_alike(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    state = {name: tensor.contiguous() for name, tensor in theirs(kind).state_dict().items()}
    tmp_path.joinpath("config.json").write_text((folder / "config.json").read_text())
    save_file(state, tmp_path / "model.safetensors")
    want, found = open_weights(str(folder)).tensors, open_weights(str(tmp_path)).tensors
    assert set(found) == set(want) and all(torch.equal(found[name], want[name]) for name in want)


def test_a_tied_head_is_read_as_a_weight_of_its_own(kind: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "tied", kind, tied=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    tensors = open_weights(str(folder)).tensors
    assert torch.equal(tensors["llm.lm_head.weight"], tensors["llm.embed_tokens.weight"])


@pytest.mark.parametrize(
    "change, error, said",
    [
        (
            {"model_type": "qwen2_vl"},
            WeightsError,
            "says model_type 'qwen2_vl', known are qwen2_5_vl, qwen3_vl",
        ),
        ({"text": {"use_sliding_window": True}}, WeightsError, "says use_sliding_window True"),
        (
            {"vision_config": {"temporal_patch_size": 1}},
            WeightsError,
            "says temporal_patch_size 1, known is 2",
        ),
        ({"text": {"hidden_size": "wide"}}, WeightsError, "is not one that transformers' Qwen"),
        ({"tensor": "model.layers.0.mlp.experts"}, WrongNames, "in the weights, not in the model"),
        ({"tensor": "talker.weight"}, WrongNames, "1 names that the Qwen-VL layout does not have"),
    ],
)
def test_what_is_no_qwen_vl_that_is_known_is_refused(
    change: dict[str, Any],
    error: type[WeightsError],
    said: str,
    kind: str,
    folder: Path,
    tmp_path: Path,
) -> None:
    config = json.loads((folder / "config.json").read_text())
    state = load_file(folder / "model.safetensors")
    for key, value in change.items():
        if key == "tensor":
            state[value] = torch.zeros(1)
        elif key == "text":
            config.setdefault("text_config", {}).update(value)
        elif isinstance(value, dict):
            config[key].update(value)
        else:
            config[key] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(state, tmp_path / "model.safetensors")
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(error, match=said):
        recipe = tiny_recipe(kind, tmp_path)
        assemble(recipe, base_weights(recipe))


def test_a_base_is_known_by_its_name_and_else_by_the_recipes_that_take_it(tmp_path: Path) -> None:
    known = write(tmp_path / "Qwen3-VL-4B-Instruct", "qwen3_vl")
    assert (identify(known).layout, identify(known).recipe) == ("backbone", "sa2va_qwen3_4b")
    other = known.rename(tmp_path / "mine")
    with pytest.raises(Ambiguous, match="sa2va_qwen2_5_3b, sa2va_qwen2_5_7b, sa2va_qwen3_4b"):
        identify(other)


def test_a_tokenizer_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    from tests import tiny_internvl

    tiny_internvl.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"no <\|vision_start\|> and no <\|vision_end\|>"):
        choice(folder).tokenizer(str(tmp_path), ("[SEG]",))


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"pool": "2x2"}, "four patches of a Qwen-VL are one token already"),
        (
            {"min_pixels": 10**6, "max_pixels": 10**5},
            "backbone.min_pixels=1000000 is more than backbone.max_pixels",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], said: str) -> None:
    recipe = named("sa2va_qwen3_4b")
    with pytest.raises(ValueError, match=said):
        replace(recipe.backbone, **changes).check(recipe)


def test_an_attention_that_transformers_does_not_have_for_it_is_refused() -> None:
    recipe = named("sa2va_qwen3_4b")
    flex = replace(recipe, engine=replace(recipe.engine, attention="flex"))
    with pytest.raises(ValueError, match="engine.attention=flex: transformers has none for a Qwen-VL"):
        flex.backbone.check(flex)
