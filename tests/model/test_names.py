"""Our tensor names are our own: one table, both directions, one to one on a built model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seglm.model.names import canonical, group, module_name, names
from seglm.model.released import dims
from tests.tiny import tiny_model


@pytest.mark.parametrize(
    "inside, ours",
    [
        ("backbone.llm.model.embed_tokens.weight", "llm.embed_tokens.weight"),
        ("backbone.llm.model.layers.3.self_attn.q_proj.weight", "llm.layers.3.self_attn.q_proj.weight"),
        ("backbone.llm.model.layers.3.self_attn.q_proj.base_layer.weight", "llm.layers.3.self_attn.q_proj.weight"),
        ("backbone.llm.model.layers.3.self_attn.q_proj.lora_A.default.weight", "llm.layers.3.self_attn.q_proj.lora_A.weight"),
        ("backbone.llm.model.layers.3.self_attn.q_proj.lora_B.default.weight", "llm.layers.3.self_attn.q_proj.lora_B.weight"),
        ("backbone.llm.model.norm.weight", "llm.norm.weight"),
        ("backbone.llm.lm_head.weight", "llm.lm_head.weight"),
        ("backbone.vision.encoder.layers.0.mlp.fc1.bias", "vision.encoder.layers.0.mlp.fc1.bias"),
        ("backbone.vision.vision_model.pre_layrnorm.bias", "vision.pre_layrnorm.bias"),
        ("backbone.projector.weight", "projector.weight"),
        ("backbone.projector.linear_2.bias", "projector.2.bias"),
        ("decoder.mask_decoder.iou_token.weight", "decoder.mask_decoder.iou_token.weight"),
        ("project.2.weight", "project.2.weight"),
        ("backbone.llm.model.embed_tokens", "llm.embed_tokens"),  # a module has a name as well
        ("backbone.llm.lm_head", "llm.lm_head"),
    ],
)  # fmt: skip
def test_a_module_name_has_one_canonical_name(inside: str, ours: str) -> None:
    assert canonical(inside) == ours


@pytest.mark.parametrize("inside", ["lm_head.weight", "backbone.audio.weight", "decoders.weight"])
def test_a_name_outside_the_table_is_an_error_that_names_the_table(inside: str) -> None:
    with pytest.raises(ValueError, match=r"no canonical name.*backbone\.llm"):
        canonical(inside)


def test_the_mapping_is_one_to_one_on_a_built_model_and_goes_both_ways() -> None:
    model = tiny_model()
    table = names(model)
    assert sorted(table.values()) == sorted(model.state_dict())
    for ours, inside in table.items():
        assert canonical(inside) == ours
        assert module_name(ours, model) == inside


def test_names_do_not_depend_on_adapters() -> None:
    plain = {name for name in names(tiny_model()) if ".lora_" not in name}
    from dataclasses import replace

    from seglm.model.settings import Lora, Trainable
    from tests.tiny import tiny_recipe

    without = tiny_model(replace(tiny_recipe(), trainable=Trainable(lora=Lora(r=0))))
    assert set(names(without)) == plain


def test_an_unknown_canonical_name_lists_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"the nearest: llm\.norm\.weight"):
        module_name("llm.norms.weight", tiny_model())


def test_two_tensors_of_one_name_are_an_error() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Module()
            self.backbone.vision = nn.Module()
            self.backbone.vision.post = nn.Parameter(torch.ones(1))
            self.backbone.vision.vision_model = nn.Module()
            self.backbone.vision.vision_model.post = nn.Parameter(torch.ones(1))

    with pytest.raises(ValueError, match="would both be called 'vision.post'"):
        names(Both())


@pytest.mark.parametrize(
    "name, part",
    [
        ("llm.layers.0.mlp.up_proj.weight", "llm"),
        ("llm.layers.0.self_attn.q_proj.lora_A.weight", "llm lora"),
        ("decoder.mask_decoder.iou_token.weight", "decoder.mask_decoder"),
        ("project.0.bias", "project"),
    ],
)
def test_reports_group_tensors_by_part(name: str, part: str) -> None:
    assert group(name) == part


@pytest.mark.parametrize(
    "names, want",
    [
        (("q_proj.weight", "o_proj.weight"), "LLAMA"),
        (("q_proj.weight", "q_proj.bias", "o_proj.weight"), "QWEN2"),
        (("q_proj.bias", "o_proj.bias"), "LLAMA"),
    ],
)
def test_the_biases_of_a_vision_tower_make_no_other_language_model(names: tuple[str, ...], want: str) -> None:
    """CLIP's attention has biases, and its last layer is called otherwise."""
    tower = [
        f"vision.vision_model.encoder.layers.0.self_attn.{name}" for name in ("q_proj.bias", "out_proj.bias")
    ]
    found = dims.family_of([*(f"llm.layers.0.self_attn.{name}" for name in names), *tower])
    assert found is getattr(dims, want)
