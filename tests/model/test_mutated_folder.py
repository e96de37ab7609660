"""Our own merged folder with one thing changed: it answers as before, or is refused by an error that names it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import merge_lora_weights_and_save_hf_model as script
from seglm.model.load import load
from seglm.model.released.errors import WeightsError
from seglm.model.released.trained import read_trained
from seglm.utils.portable import save_portable
from tests.model.layouts import canonical_tensors, trainable_only, write_bases
from tests.model.mutations import (
    CONFIG,
    HEAD_AND_EMBEDDING,
    POINTER,
    ST,
    Mutation,
    State,
    config,
    content,
    cut,
    gone,
    part_of_config,
)
from tests.tiny import tiny_model

PROBE, TOKENIZER = "probe.safetensors", "tokenizer.json"
RIGHT = ""


def stored(change: Callable[[State], State]) -> Mutation:
    def mutate(folder: Path) -> None:
        save_file(change(load_file(folder / ST)), folder / ST, metadata={"format": "pt"})

    return mutate


def part(name: str, **values: Any) -> Mutation:
    """Sets sizes of one part."""

    def mutate(folder: Path) -> None:
        dims = json.loads((folder / CONFIG).read_text())["dims"]
        part_of_config("dims", **{name: dims[name] | values})(folder)

    return mutate


def short(state: State) -> State:
    """Without the rows of the added tokens."""
    return state | {f"llm.{name}": state[f"llm.{name}"][:560].clone() for name in HEAD_AND_EMBEDDING}


TABLE: dict[str, tuple[Mutation, str]] = {
    "nothing": (lambda folder: None, RIGHT),
    "no manifest": (gone("manifest.json"), RIGHT),
    "a wrapper's prefix": (stored(lambda s: {f"module.{name}": t for name, t in s.items()}), RIGHT),
    "half the weights": (cut(ST, 0.5), "cut short"),
    "no norm": (stored(lambda s: {name: t for name, t in s.items() if name != "llm.norm.weight"}), r"llm\.norm\.weight"),
    "a NaN": (stored(lambda s: s | {"llm.norm.weight": s["llm.norm.weight"] * float("nan")}), "NaN or infinity"),
    "no row of [SEG]": (stored(short), r"\[SEG\]"),
    "manifest is a pointer": (content("manifest.json", POINTER), "a git-lfs pointer"),
    "manifest is a list": (content("manifest.json", b"[]"), "a JSON object"),
    "the probe is empty": (content(PROBE, b""), f"{PROBE}: empty"),
    "half the probe": (cut(PROBE, 0.5), f"{PROBE}: cut short"),
    "the tokenizer is empty": (content(TOKENIZER, b""), f"{TOKENIZER}: empty"),
    "half the tokenizer": (cut(TOKENIZER, 0.5), f"{TOKENIZER}: not readable"),
    "no sizes": (config(dims=None), "dims"),
    "sizes are a list": (config(dims=[1]), "dims"),
    "a size that nobody knows": (part_of_config("dims", other=1), "dims"),
    "no language model": (part_of_config("dims", llm=None), "dims"),
    "no vision tower": (part_of_config("dims", vision={}), "sizes"),
    "the layer as a text": (part_of_config("dims", select_layer="-2"), "mm_vision_select_layer"),
    "no recipe": (config(resolved=None), "recipe"),
    "a recipe of another version": (part_of_config("resolved", other=1), "other"),
    "a recipe of another type": (part_of_config("resolved", tokens=3), "recipe"),
    "a precision that nobody knows": (config(precision="fp99"), "precision 'fp99'"),
    "heads are a text": (part("llm", num_attention_heads="4"), "num_attention_heads"),
    "heads that do not divide": (part("llm", num_attention_heads=5), "heads"),
    "the tower's heads do not divide": (part("vision", num_attention_heads=3), "heads"),
    "the decoder's heads do not divide": (part("decoder", dec_heads=3), "num_heads"),
    "another width": (part("llm", hidden_size=48), r"llm\.embed_tokens\.weight"),
    "a tied head that is not": (part("llm", tie_word_embeddings=True), RIGHT),
}  # fmt: skip


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, model = tmp_path_factory.mktemp("merged"), tiny_model()
    recipe = write_bases(root / "bases", model)
    save_portable(root / "portable", trainable_only(canonical_tensors(model)), {"recipe": "lisa_7b"})
    script.main(
        [
            "--recipe", "lisa_7b", "--version", recipe.backbone.weights, "--vision-tower", recipe.backbone.vision,
            "--vision_pretrained", recipe.decoder.weights, "--image_size", "64", "--lora_r", "2", "--lora_alpha", "4",
            "--precision", "fp32", "--weight", str(root / "portable"), "--save_path", str(root / "out"),
        ]
    )  # fmt: skip
    return root / "out"


@pytest.mark.parametrize("name", TABLE)
def test_a_changed_folder_answers_as_before_or_is_refused_by_name(
    tmp_path: Path, merged: Path, name: str
) -> None:
    mutate, said = TABLE[name]
    folder = Path(shutil.copytree(merged, tmp_path / "w"))
    mutate(folder)
    if said == RIGHT:
        got, want = load(str(folder))[0].state_dict(), load(str(merged))[0].state_dict()
        assert got.keys() == want.keys() and all(torch.equal(got[key], want[key]) for key in want)
        return
    with pytest.raises(WeightsError) as caught:
        load(str(folder))
    assert re.search(said, str(caught.value)) and str(folder) in str(caught.value), caught.value


def test_a_merged_folder_is_not_merged_again(merged: Path) -> None:
    with pytest.raises(WeightsError, match="this is merged already; use it as --version"):
        read_trained(merged)
