"""LLaVA: a CLIP tower, a projector and a Llama."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from torch import nn

from seglm.model.backbones.projected import Projected
from seglm.model.backbones.tokenizer import extended, read_tokenizer
from seglm.utils.ranges import FILLED, WRITTEN_OUT, Count

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Llava(Projected):
    """LLaVA v1 or 1.5: CLIP, a projector and a Llama."""

    adapted = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    original = ("LISAForCausalLM", "llava")

    vision: Annotated[str, WRITTEN_OUT] = "openai/clip-vit-large-patch14"
    template: str = "llava_v1"
    image_tokens: tuple[Annotated[str, FILLED], Annotated[str, FILLED]] | None = ("<im_start>", "<im_end>")
    max_length: Count = 512

    def language_model(self, sizes: Mapping[str, Any]) -> tuple[PreTrainedConfig, type[nn.Module]]:
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaConfig(**sizes), LlamaForCausalLM

    def tokenizer(self, folder: str, tokens: tuple[str, ...]) -> tuple[PreTrainedTokenizerFast, int]:
        tokenizer = read_tokenizer(folder)
        found = len(tokenizer)
        return extended(tokenizer, tokens, self.image_tokens), found
