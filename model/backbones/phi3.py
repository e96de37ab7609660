"""LLaVA-Phi-3: a CLIP tower at 336 pixels, a two-layer projector and a Phi-3, whose queries, keys and values are one layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from torch import nn

from seglm.model.backbones.projected import Projected
from seglm.model.backbones.tokenizer import newer_tokenizer
from seglm.utils.ranges import FILLED, WRITTEN_OUT, Count

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Phi3(Projected):
    """LLaVA on Phi-3 (mbzuai-oryx/LLaVA-pp), which VideoLISA starts from."""

    adapted = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
    original = ("VideoLISAForCausalLM", "llava_phi")

    vision: Annotated[str, WRITTEN_OUT] = "openai/clip-vit-large-patch14-336"
    template: str = "phi3_instruct"
    image_tokens: tuple[Annotated[str, FILLED], Annotated[str, FILLED]] | None = None
    max_length: Count = 2048

    def language_model(self, sizes: Mapping[str, Any]) -> tuple[PreTrainedConfig, type[nn.Module]]:
        from transformers import Phi3Config, Phi3ForCausalLM

        return Phi3Config(**sizes), Phi3ForCausalLM

    def tokenizer(self, folder: str, tokens: tuple[str, ...]) -> tuple[PreTrainedTokenizerFast, int]:
        return newer_tokenizer(folder, (*tokens, *(self.image_tokens or ())))
