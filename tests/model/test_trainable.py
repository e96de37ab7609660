"""Which weights are trained: LISA's set, by exact path, and nothing by accident."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seglm.model.names import canonical
from seglm.model.settings import Lora
from seglm.model.trainable import add_lora, apply
from tests.tiny import tiny_model, tiny_recipe


def test_the_trained_set_is_lisas() -> None:
    model = tiny_model()
    table = apply(model, tiny_recipe().trainable)
    trained = set(table.trained)
    adapters = {name for name in trained if ".lora_" in name}
    layers = model.backbone.llm.config.num_hidden_layers
    assert len(adapters) == layers * 2 * 2  # q and v, A and B
    assert all(
        name.split(".")[0] == "llm" and name.split(".")[-3] in ("q_proj", "v_proj") for name in adapters
    )
    rest = {
        ".".join(name.split(".")[:2]) if name.startswith(("llm", "decoder")) else name.split(".")[0]
        for name in trained - adapters
    }
    assert rest == {"llm.embed_tokens", "llm.lm_head", "decoder.mask_decoder", "project"}
    assert not any("iou_prediction_head" in name for name in trained)


def test_the_table_is_a_partition_of_all_parameters() -> None:
    model = tiny_model()
    table = apply(model, tiny_recipe().trainable)
    assert sum(row.parameters for row in table.rows) == sum(p.numel() for p in model.parameters())
    wanted = {canonical(name) for name, p in model.named_parameters() if p.requires_grad}
    assert set(table.trained) == wanted
    assert "trained" in str(table) and "LoRA" in str(table)


def test_a_path_that_matches_nothing_is_an_error_that_lists_its_neighbours() -> None:
    trainable = replace(tiny_recipe().trainable, full=("llm.lm_heads",))
    with pytest.raises(
        ValueError, match=r"'llm.lm_heads' names no parameter; at its depth there are .*'llm.lm_head'"
    ):
        apply(tiny_model(), trainable)


def test_lora_targets_that_match_no_layer_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"LoRA targets \['qkv_proj'\] match no linear layer"):
        add_lora(tiny_model().backbone.llm, Lora(targets=("qkv_proj",)))


@pytest.mark.parametrize("rank", [33, 10**8])
def test_a_rank_that_no_matrix_has_is_an_error_that_says_the_highest(rank: int) -> None:
    recipe = tiny_recipe()
    lora = Lora(r=rank, targets=("q_proj", "up_proj"))
    told = (
        rf"\(--lora_r\)={rank}: no matrix of q_proj has a higher rank than 32; permitted are numbers up to 32"
    )
    with pytest.raises(ValueError, match=told):
        tiny_model(replace(recipe, trainable=replace(recipe.trainable, lora=lora)))


def test_trainable_weights_are_float32_whatever_the_precision() -> None:
    recipe = tiny_recipe()
    model = tiny_model(replace(recipe, engine=replace(recipe.engine, precision="bf16")))
    # Prompt encoder and mask decoder run in float32, and so does the head of theirs that is not trained.
    exact = ("decoder.prompt_encoder.", "decoder.mask_decoder.")
    kinds = {(p.requires_grad, p.dtype) for name, p in model.named_parameters() if not name.startswith(exact)}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    assert {p.dtype for name, p in model.named_parameters() if name.startswith(exact)} == {torch.float32}
