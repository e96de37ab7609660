"""Modules from sizes: the tree of a Segmenter with fresh weights, before any checkpoint is read into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.llava import LlavaBackbone
from seglm.model.decoders.sam import SamDecoder, SamDims
from seglm.model.recipe import Engine, Recipe
from seglm.model.segmenter import COMPUTE, Segmenter
from seglm.model.trainable import Table, add_lora, apply

IMPLEMENTATION = {"flex": "flex_attention"}
FLOAT32 = ("decoder.prompt_encoder", "decoder.mask_decoder", "project", "fuse")
"""masks are drawn in float32: a frozen part of it, such as the IoU head, may not be cast either"""


@dataclass(frozen=True)
class Dims:
    """Every size needed to build the modules; it is what a saved model keeps of its bases' configs."""

    llama: Mapping[str, Any]
    """arguments of transformers' LlamaConfig"""
    clip: Mapping[str, Any]
    """arguments of transformers' CLIPVisionConfig"""
    sam: SamDims
    projector: str = "linear"
    """`linear` (LLaVA v1) or `mlp2x_gelu` (LLaVA 1.5)"""
    select_layer: int = -2

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Dims:
        return cls(**{**values, "sam": SamDims.of(values["sam"])})


def construct(
    recipe: Recipe,
    dims: Dims,
    encoder: DialogueEncoder,
    *,
    lora: bool = True,
    device: str | torch.device = "cpu",
) -> tuple[Segmenter, Table]:
    """A Segmenter of the given sizes: frozen weights in the recipe's precision, trainable ones in float32.

    lora: inject the recipe's adapters (False for a merged model). Returns the model in eval mode and the table of what
    is trained.
    """
    with torch.device(device):
        with _default_dtype(COMPUTE[recipe.engine.precision]):
            llm, vision = _llm(dims, attention(recipe.engine)), _vision(dims)
        backbone = LlavaBackbone(
            llm=llm,
            vision=vision,
            projector=_projector(dims),
            select_layer=dims.select_layer,
        )
        model = Segmenter(recipe=recipe, encoder=encoder, backbone=backbone, decoder=SamDecoder(dims.sam))
        if lora:
            add_lora(backbone.llm, recipe.trainable.lora)
    table = apply(model, recipe.trainable)
    _cast_frozen(model, COMPUTE[recipe.engine.precision])
    if recipe.engine.gradient_checkpointing:
        backbone.llm.gradient_checkpointing_enable({"use_reentrant": False})
    return model.eval(), table


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """New tensors have this dtype: a 13B model that is to be bf16 is never 52 GB of float32 on the way."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def attention(engine: Engine) -> str:
    """transformers' name of the attention to use.

    `auto` is SDPA, which takes any mask and so shares prefixes, or flash-attn where it is installed with a GPU and
    nothing is shared. Raises ImportError, with the install line, if flash-attn is asked for and absent.
    """
    from transformers.utils import is_flash_attn_2_available

    flash = torch.cuda.is_available() and is_flash_attn_2_available()
    if engine.attention == "auto":
        return "flash_attention_2" if flash and not engine.share_prefix else "sdpa"
    if engine.attention == "flash_attention_2" and not flash:
        raise ImportError(
            "engine.attention=flash_attention_2 needs flash-attn and a GPU; install it after torch with: "
            "pip install flash-attn --no-build-isolation (or use engine.attention=sdpa)"
        )
    return IMPLEMENTATION.get(engine.attention, engine.attention)


def _llm(dims: Dims, implementation: str) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**dims.llama)
    config._attn_implementation = implementation
    return LlamaForCausalLM(config)


def _vision(dims: Dims) -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(CLIPVisionConfig(**dims.clip))


def _projector(dims: Dims) -> nn.Module:
    wide, hidden = int(dims.clip["hidden_size"]), int(dims.llama["hidden_size"])
    if dims.projector == "linear":
        return nn.Linear(wide, hidden)
    if dims.projector == "mlp2x_gelu":
        return nn.Sequential(nn.Linear(wide, hidden), nn.GELU(), nn.Linear(hidden, hidden))
    raise ValueError(
        f"unknown projector {dims.projector!r}; known are linear (LLaVA v1) and mlp2x_gelu (LLaVA 1.5)"
    )


def _cast_frozen(model: Segmenter, dtype: torch.dtype) -> None:
    """Frozen weights to the compute precision, but for what runs in float32 whatever the autocast (FLOAT32)."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad and not name.startswith(FLOAT32):
            parameter.data = parameter.data.to(dtype)
