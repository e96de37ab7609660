"""LLaVA as parts: a CLIP tower, a projector and a Llama, all Hugging Face's own classes.

The parts are held side by side, not inside `LlavaForConditionalGeneration`, because visual features are written at places that
were recorded when the dialogue was encoded, and because the language head runs on the few positions that need it.
Letters: R rows, T tokens of a row, N frames, P patches of a frame, V visual tokens of the batch, D hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seglm.model.attention import attention_mask
from seglm.utils.types import Batch

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""RGB on the 0..1 scale; the values of openai/clip-vit-large-patch14's preprocessor"""
SELECT_LAYER = -2
"""LLaVA v1 reads the output of the last block but one (mm_vision_select_layer)"""


class LlavaBackbone(nn.Module):
    """Pixels and ids in, the last hidden state out."""

    clip_mean: Tensor
    clip_std: Tensor

    def __init__(
        self, *, llm: nn.Module, vision: nn.Module, projector: nn.Module, select_layer: int = SELECT_LAYER
    ) -> None:
        """llm: LlamaForCausalLM. vision: CLIPVisionModel. projector: float [..., vision width] -> float [..., D]."""
        super().__init__()
        self.llm: Any = llm
        self.vision: Any = vision
        self.projector = projector
        self.select_layer = select_layer
        self.register_buffer("clip_mean", torch.tensor(CLIP_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("clip_std", torch.tensor(CLIP_STD).view(3, 1, 1), persistent=False)

    @property
    def patches(self) -> int:
        """Visual tokens of one frame."""
        config = self.vision.config
        return int(config.image_size // config.patch_size) ** 2

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which frozen weights are kept and the residual stream flows."""
        dtype: torch.dtype = self.llm.model.norm.weight.dtype
        return dtype

    @torch.no_grad()
    def see(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, v, v], or float already normalised -> features [N, P, vision width]; frozen, no gradient.

        Only the blocks up to the selected one are run: the last block of CLIP is never needed.
        """
        if pixels.dtype == torch.uint8:
            pixels = (pixels.float() / 255 - self.clip_mean) / self.clip_std
        tower = self.vision
        hidden = tower.pre_layrnorm(
            tower.embeddings(pixels.to(tower.embeddings.patch_embedding.weight.dtype))
        )
        layers = tower.encoder.layers
        for layer in layers[: len(layers) + 1 + self.select_layer]:
            hidden = layer(hidden, None)
        return hidden[:, 1:]  # type: ignore[no-any-return]  # the class token is not shown to the LLM

    def embed(self, batch: Batch) -> Tensor:
        """Token embeddings with the projected features written at their recorded places: [R, T, D]."""
        embeds = self.llm.get_input_embeddings()(batch.ids.clamp(min=0)).to(self.dtype)
        if batch.image_at.shape[0] == 0 and not is_sharded(self.vision):
            return embeds  # type: ignore[no-any-return]
        table = self.projector(self.see(_at_least_one(batch.vision, self.vision.config.image_size)))
        pooled = torch.cat([table, table.mean(1, keepdim=True)], dim=1)
        features = pooled[batch.image_frame, batch.image_patch].to(embeds.dtype)
        return embeds.flatten(0, 1).index_copy(0, batch.image_at, features).view_as(embeds)  # type: ignore[no-any-return]

    def hidden(self, batch: Batch, *, cache: Any = None) -> Tensor:
        """The state after the last norm, [R, T, D]; nothing of the layers below is kept."""
        mask = attention_mask(batch, implementation=self.llm.config._attn_implementation, dtype=self.dtype)
        return self.llm.model(  # type: ignore[no-any-return]
            inputs_embeds=self.embed(batch),
            attention_mask=mask,
            position_ids=batch.positions,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state

    @property
    def head(self) -> Callable[[Tensor], Tensor]:
        """The language head: [..., D] -> vocabulary logits [..., V]."""
        head: Callable[[Tensor], Tensor] = self.llm.lm_head
        return head


def is_sharded(module: nn.Module) -> bool:
    """True under ZeRO-3, where every rank has to run every module equally often because weights are gathered on use."""
    return any(hasattr(parameter, "ds_id") for parameter in module.parameters())


def _at_least_one(pixels: Tensor, side: int) -> Tensor:
    if pixels.shape[0]:
        return pixels
    return torch.zeros((1, 3, side, side), dtype=torch.uint8, device=pixels.device)
