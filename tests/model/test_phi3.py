"""LLaVA-Phi-3 and VideoLISA on it: files of their own layouts, the tokenizer, the window, fused adapters and their merge."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seglm.model.attention import allowed
from seglm.model.backbones.phi3 import Phi3
from seglm.model.backbones.templates import template
from seglm.model.backbones.tokenizer import newer_tokenizer
from seglm.model.build import Built, base_weights, build
from seglm.model.load import load, load_with_trained
from seglm.model.merge import export, merged
from seglm.model.recipe import Recipe
from seglm.model.released.errors import WeightsError
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.open import open_weights
from seglm.utils.dist import World
from seglm.utils.types import Dialogue, Slot, Turn
from tests.model.layouts import canonical_tensors, training_state, write_phi3_bases, write_phi3_tokenizer


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return write_phi3_bases(tmp_path_factory.mktemp("phi3"))


def trained(recipe: Recipe) -> Built:
    """The built model with adapters that do something."""
    built = build(recipe)
    with torch.no_grad():
        for name, parameter in built.model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(0, 0.1)
    return built


def test_a_base_is_read_to_the_last_tensor_and_its_padding_rows_become_the_token(recipe: Recipe) -> None:
    built = build(recipe)
    assert built.report.complete and built.report.new_rows == ("[SEG]",)
    assert built.sizes.projector == "mlp2x_gelu" and built.sizes.llm["vocab_size"] == 566
    assert built.model.encoder.token_id("[SEG]") == 565


def test_one_adapter_lies_on_each_fused_layer_and_nowhere_else(recipe: Recipe) -> None:
    names = [name for name in build(recipe).table.trained if ".lora_" in name]
    assert names == [
        f"llm.layers.{layer}.self_attn.qkv_proj.lora_{half}.weight" for layer in range(2) for half in "AB"
    ]


def test_lisas_targets_are_refused_with_the_names_of_this_llm(recipe: Recipe) -> None:
    lora = replace(recipe.trainable.lora, targets=("q_proj", "v_proj"))
    with pytest.raises(ValueError, match="q_proj, v_proj would get no adapter; permitted are qkv_proj"):
        replace(recipe, trainable=replace(recipe.trainable, lora=lora)).check(World())


def test_a_merged_model_is_written_in_videolisas_layout_and_read_back(recipe: Recipe, tmp_path: Path) -> None:
    """`export` itself compares the answers of what it reads back with those of the model before."""
    built = trained(recipe)
    want = merged(built.model, recipe.trainable.lora)
    export(built, tmp_path / "out", manifest={}, kind="lisa", vision=recipe.backbone.vision)
    config, state = config_of(tmp_path / "out"), read_tensors(tmp_path / "out")
    assert (config["architectures"], config["model_type"]) == (["VideoLISAForCausalLM"], "llava_phi")
    assert "model.layers.1.self_attn.qkv_proj.weight" in state and "model.mm_projector.2.bias" in state
    assert not any("vision_tower" in name or "lora" in name for name in state)
    model, _ = load(
        str(tmp_path / "out"),
        recipe="videolisa_3_8b",
        precision="fp32",
        vision=recipe.backbone.vision,
    )
    got = canonical_tensors(model)
    assert set(got) == set(want) and all(torch.equal(got[name], want[name]) for name in want)


def test_the_originals_training_file_completes_its_base(recipe: Recipe, tmp_path: Path) -> None:
    built = trained(recipe)
    state = training_state(canonical_tensors(built.model))
    assert "base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.default.weight" in state
    torch.save(state, tmp_path / "pytorch_model.bin")
    again = load_with_trained(base_weights(recipe), str(tmp_path / "pytorch_model.bin"), recipe)
    got, want = canonical_tensors(again.model), canonical_tensors(built.model)
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_our_own_folder_keeps_the_tokenizer_to_the_id(recipe: Recipe, tmp_path: Path) -> None:
    built = trained(recipe)
    dialogue = Dialogue((Turn(("\nWhat is the ring?",), ("It is ", Slot("[SEG]", 0, ()), ".")),))
    want = built.model.encoder.encode(dialogue).ids.tolist()
    export(built, tmp_path / "out", manifest={})
    model, _ = load(str(tmp_path / "out"))
    assert model.encoder.encode(dialogue).ids.tolist() == want


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("num_attention_heads", 8, "num_attention_heads and num_key_value_heads, together 16 of 4 channels"),
        ("intermediate_size", 48, "config.json says intermediate_size 48, the tensors say 64"),
        ("model_type", "llama", "config.json says model_type 'llama'"),
        ("partial_rotary_factor", 0.5, "config.json says partial_rotary_factor 0.5"),
        ("sliding_window", "far", "config.json says sliding_window 'far', expected a whole number"),
        ("rope_scaling", {"type": "yarn"}, "Phi3Config"),
    ],
)
def test_a_config_of_another_model_is_refused(
    recipe: Recipe, tmp_path: Path, key: str, value: object, said: str
) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    for file in Path(recipe.backbone.weights).iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "config.json").unlink()
    config = config_of(recipe.backbone.weights) | {key: value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=said):
        open_weights(str(folder), vision=recipe.backbone.vision)


# ---- the tokenizer --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text, pieces",
    [
        ("<|user|>\n\nIt", "<|user|> It"),  # the control tokens of Phi-3 swallow what follows
        ("It is", "\u2581 It \u2581is"),
        ("<|assistant|>\nIt is [SEG].<|end|>", "<|assistant|> It \u2581is \u2581 [SEG] . <|end|>"),
    ],
)
def test_only_a_texts_beginning_gets_a_space_and_the_slot_swallows_none(
    tmp_path: Path, text: str, pieces: str
) -> None:
    tokenizer, found = newer_tokenizer(write_phi3_tokenizer(tmp_path), ("[SEG]",))
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert found == 565 and tokenizer.convert_ids_to_tokens(ids) == pieces.split(" ")


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (write_phi3_tokenizer(tmp_path) / "tokenizer.model").write_bytes(b"\x00\x01")
    with pytest.raises(WeightsError, match=r"tokenizer\.model"):
        newer_tokenizer(tmp_path, ("[SEG]",))


def test_the_template_is_phi3s_and_its_answer_ends_with_its_end_token() -> None:
    phi3 = template("phi3_instruct")
    written = phi3.render(Dialogue((Turn(("Q",), ("A",)), Turn(("R",), ("B",)))))
    assert "".join(str(one.piece) for one in written) == (
        "<|system|>\nYou are a helpful AI assistant.<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>"
        "\n<|user|>\nR<|end|>\n<|assistant|>\nB<|end|>"
    )
    assert "".join(str(one.piece) for one in written if one.trained) == "A<|end|>B<|end|>"


# ---- the window -----------------------------------------------------------------------------------------------------
def test_a_window_hides_what_was_said_long_ago() -> None:
    """Group 0: a trunk of two tokens, then two branches of two; the third and fourth position of each are 2 and 3."""
    group, branch = torch.zeros((1, 6), dtype=torch.int64), torch.tensor([[0, 0, 1, 1, 2, 2]])
    positions = torch.tensor([[0, 1, 2, 3, 2, 3]])
    seen = allowed(group, branch, positions, window=2)[0, 0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def test_the_window_of_the_config_is_transformers_own(tmp_path: Path) -> None:
    """Our states with a window, from our mask, beside those of Phi3Model, which makes a mask of its own."""
    model = build(write_phi3_bases(tmp_path, window=5)).model
    assert isinstance(model.recipe.backbone, Phi3) and model.backbone.window == 5
    ids = torch.randint(3, 500, (1, 12), generator=torch.Generator().manual_seed(0))
    rule = torch.zeros_like(ids)
    free = allowed(rule, rule, torch.arange(12)[None], window=5)
    with torch.no_grad(), model.backbone.generating() as cache:
        got = model.backbone.go_on(ids, free=free, positions=torch.arange(12)[None], cache=cache)
        want = model.backbone.llm.model(input_ids=ids).last_hidden_state
        whole = model.backbone.go_on(
            ids,
            free=allowed(rule, rule, torch.arange(12)[None]),
            positions=torch.arange(12)[None],
            cache=None,
        )
    torch.testing.assert_close(got, want)
    assert (got - whole).abs().max() > 1e-3
