"""Recipes: what is chosen by its class, in commands and in JSON, of today and of before."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seglm.model.decoders.sam import Sam
from seglm.model.decouple import Decoupled
from seglm.model.fusion import Identity
from seglm.model.key_fusion import KeyFusion
from seglm.model.older import recipe_from_json, with_settings
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.recipes import recipes
from seglm.model.score import ScoreHead
from seglm.model.settings import Data
from seglm.model.systems.keyseg import RestartedSam
from seglm.model.toy import toy_sized
from seglm.utils.config import leaves, spell, to_json
from seglm.utils.dist import World

FUNCTIONS = ("frames", "script", "prompt", "forced", "walk", "outwards", "shows", "typed", "points")


def changed(name: str, *settings: str) -> Recipe:
    return with_settings(
        named(name), [(path, text) for path, _, text in (one.partition("=") for one in settings)]
    )


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_comes_back_from_json_and_from_its_own_listing(name: str) -> None:
    recipe = named(name)
    assert recipe_from_json(json.loads(json.dumps(to_json(recipe)))) == recipe
    typed = [(path, spell(value)) for path, value in leaves(recipe) if path not in FUNCTIONS and value != ""]
    assert with_settings(recipe, typed) == recipe


def test_a_part_is_chosen_by_the_name_of_its_class() -> None:
    assert changed("lisa_7b", "fusion=KeyFusion", "fusion.hidden=64").fusion == KeyFusion(hidden=64)
    assert changed("keyseg_7b", "fusion=Identity").fusion == Identity()


def test_at_toy_size_a_system_keeps_a_projection_of_its_own() -> None:
    parent = replace(named("lisa_7b"), project=Decoupled(behind_layer=True))
    assert toy_sized(parent, name="tiny").project == Decoupled(as_point=True, behind_layer=True)
    assert toy_sized(replace(parent, project=ScoreHead()), name="tiny").project == ScoreHead()


def test_relatives_keep_their_fields_and_strangers_do_not() -> None:
    own = changed("lisa_7b", "decoder.weights=my.pth", "decoder=RestartedSam")
    assert own.decoder == RestartedSam(weights="my.pth")
    assert changed("lisa_7b", "decoder=Sam").decoder == Sam()


@pytest.mark.parametrize(
    "setting, message",
    [
        ("fusion=KeyFusin", "unknown choice fusion= 'KeyFusin'; did you mean KeyFusion"),
        ("fusion=Sam", "unknown choice fusion= 'Sam'"),
        ("fusion.rows=3", "unknown setting 'fusion.rows'"),
        ("decoder=Fusion", "unknown choice"),
        ("terms.bce=Keyword.x", "unknown choice"),
    ],
)
def test_a_wrong_choice_names_what_is_right(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed("lisa_7b", setting)


def test_json_names_no_class_of_another_kind() -> None:
    plain = to_json(named("lisa_7b"))
    wrong = plain | {"fusion": {"class": "seglm.model.decoders.sam:Sam"}}
    with pytest.raises(ValueError, match="is no Fusion; known are Identity, KeyFusion"):
        recipe_from_json(wrong)
    with pytest.raises(ValueError, match="outside seglm"):
        recipe_from_json(plain | {"fusion": {"class": "os:system"}})


def test_families_are_a_mapping_that_takes_new_ones() -> None:
    data = changed(
        "lisa_7b", "data.sets.sem_seg=ade20k", "data.sets.mine=a,b", "data.mixture=mine,sem_seg"
    ).data
    assert data.families() == {"mine": ("a", "b"), "sem_seg": ("ade20k",)}
    with pytest.raises(ValueError, match="unknown family in data.mixture"):
        Data(mixture=("reason",)).families()


@pytest.mark.parametrize(
    "before, today",
    [
        ("fusion.kind=identity", "fusion=Identity"),
        ("fusion.kind=faithful", "fusion.kind=faithful"),
        ("decoder.restart=true", "decoder=RestartedSam"),
        ("decoder.restart=false", "decoder=Sam"),
        ("data.refer_seg+=refzom", "data.sets.refer_seg+=refzom"),
        ("data.sem_seg=ade20k", "data.sets.sem_seg=ade20k"),
    ],
)
def test_a_setting_of_before_means_what_it_meant(before: str, today: str) -> None:
    assert changed("keyseg_7b", before) == changed("keyseg_7b", today)


def test_the_example_of_the_document_is_a_system() -> None:
    text = (Path(__file__).parents[2] / "docs" / "adding_a_system.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(\"\"\"MySystem.*?)```", text, flags=re.DOTALL)
    module: dict[str, Any] = {}
    exec(code, module)
    large, tiny = module["my_system_7b"](), module["my_system_tiny"]()
    assert (large.name, large.parent, large.read_at) == ("my_system_7b", "lisa_7b", 0)
    assert (tiny.name, tiny.parent, tiny.decoder.image_size) == ("my_system_tiny", "my_system_7b", 64)


CPU, GPU = World(), World(device=torch.device("cuda"))


def test_every_shipped_recipe_is_fit_to_be_trained_and_used() -> None:
    for make in recipes().values():
        for world in (CPU, GPU):
            make().check(world)
            make().check(world, to_train=False)


@pytest.mark.parametrize(
    "name, settings, said",
    [
        ("lisa_7b", "engine.attention=flex", "no backward pass on a CPU; use engine.attention=sdpa"),
        ("lisa_7b", "engine.precision=fp16", r"engine.precision \(--precision\)=fp16 needs a GPU"),
        ("lisa_7b", "engine.load_in=4bit", "are for chat.py and --eval_only"),
        (
            "lisa_7b",
            "engine.row_tokens=2048 engine.share_prefix=false",
            "engine.row_tokens=2048 puts several images into a row, and engine.share_prefix=false gives",
        ),
        (
            "lisa_7b",
            "trainable.lora.targets=lm_head,q_proj",
            "lm_head would get no adapter; permitted are q_proj",
        ),
        ("lisa_7b", "trainable.lora.targets=query", "query would get no adapter"),
        ("lisa_7b", "trainable.lora.r=0 trainable.full=", "nothing is trained"),
        (
            "lisa_7b",
            "trainable.full+=decoder.image_encoder.neck",
            "of decoder.image_encoder.neck .* without a gradient",
        ),
        ("lisa_7b", "trainable.full+=decoder", "add trainable.frozen\\+=decoder.image_encoder"),
        ("sa2va_4b", "trainable.full+=vision", "of vision something would be trained without a gradient"),
        (
            "lisa_tiny",
            "trainable.lora.r=0 trainable.full=decoder.mask_decoder",
            "decoder_waits=0.25: nothing but the mask decoder is trained, so it cannot wait",
        ),
        ("lisa_7b", "backbone.template=vicuna", "vicuna"),
        ("lisa_7b", "fusion=KeyFusion", "fuses the slots with a key token, and recipe lisa_7b has none"),
        ("keyseg_7b", "fusion=Identity", "terms.keyword aligns what fusion=KeyFusion projects"),
        ("lisa_7b", "data.rates=0,0,0,0", "every weight is 0"),
        ("lisa_7b", "data.rates=1", "gives 1 weights"),
        ("lisa_7b", "data.mixture=reason", "unknown family"),
        ("lisa_7b", "terms.language.weight=0 terms.bce.weight=0 terms.dice.weight=0", "nothing is learnt"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_anything_is_loaded(
    name: str, settings: str, said: str
) -> None:
    wrong = changed(name, *settings.split(" "))
    with pytest.raises(ValueError, match=said):
        wrong.check(CPU)


def test_flash_attention_wants_a_row_for_each_dialogue(monkeypatch: pytest.MonkeyPatch) -> None:
    flash = changed("lisa_7b", "engine.attention=flash_attention_2")
    with pytest.raises(ImportError, match="pip install flash-attn"):
        flash.check(CPU)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: True)
    with pytest.raises(
        ValueError, match="engine.share_prefix put several into one; set engine.share_prefix=false"
    ):
        flash.check(GPU)
    alone = changed("lisa_7b", "engine.attention=flash_attention_2", "engine.share_prefix=false")
    alone.check(GPU)
    with pytest.raises(ValueError, match="engine.row_tokens put several"):
        replace(alone, engine=replace(alone.engine, row_tokens=2048)).check(GPU)


def test_what_is_for_training_alone_does_not_keep_a_model_from_use() -> None:
    changed("lisa_7b", "engine.attention=flex", "data.rates=1").check(CPU, to_train=False)
