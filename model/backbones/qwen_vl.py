"""Qwen2.5-VL and Qwen3-VL: transformers' own tower and language model, and pictures in their own shape.

A picture is a grid of cells of 28 (Qwen 2.5) or 32 pixels (Qwen 3), a token each; of a piece of video two frames lie in one layer
of tokens. Queries and keys are turned by a token's time, height and width (M-RoPE; Wang et al., 2024, arXiv 2409.12191, 2.1).
Qwen3-VL adds what earlier blocks of the tower saw to the states behind the first layers of the language model (DeepStack).
Letters: N cells, t tokens of what is seen, V those that are shown, D hidden, E depths of DeepStack.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from seglm.model.backbones.internvl import LINEARS
from seglm.model.backbones.projected import FEATURES_DIM, Projected, ProjectedBackbone
from seglm.model.backbones.tokenizer import own_tokenizer
from seglm.model.precision import Precision, computed_in, default_dtype
from seglm.model.prefix_attention import attend_by
from seglm.model.sizes import Sizes
from seglm.utils.batch import Batch
from seglm.utils.containers import WeightsError
from seglm.utils.dist import is_sharded
from seglm.utils.imports import importing
from seglm.utils.ranges import FILLED, WRITTEN_OUT, Count, Positive
from seglm.utils.renamed import method_of
from seglm.utils.types import Grid, Look

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from seglm.model.recipe import Recipe
    from seglm.model.released.checkpoint import Checkpoint

FRAMES = 2  # of a piece of video in one layer of tokens (temporal_patch_size of every release); a picture is shown twice
BUDGET = 28**2  # pixels of a token, as Sa2VA counts them, of Qwen 3's larger ones, too
COUNTED = {"num_hidden_layers": "depth", "num_attention_heads": "num_heads"}
"""what every tower's sizes are called here -> by transformers, for these"""


@dataclass(frozen=True)
class Generation:
    """What differs between the two."""

    name: str
    """transformers' classes begin with it"""
    tower: str
    """transformers' class of the tower"""
    text_keys: tuple[str, ...]
    """of transformers' config of the language model, besides TEXT_KEYS"""
    tower_keys: tuple[str, ...]


GENERATIONS: Mapping[str, Generation] = {
    "qwen2_5_vl": Generation(
        "Qwen2_5_VL",
        "Qwen2_5_VisionTransformerPretrainedModel",
        text_keys=(),
        tower_keys=("tokens_per_second", "window_size", "fullatt_block_indexes"),
    ),
    "qwen3_vl": Generation(
        "Qwen3VL",
        "Qwen3VLVisionModel",
        text_keys=("head_dim", "attention_bias"),
        tower_keys=("num_position_embeddings", "deepstack_visual_indexes"),
    ),
}
"""`model_type` -> its generation"""


@dataclass(frozen=True)
class QwenVL(Projected):
    """Qwen2.5-VL or Qwen3-VL, in the layout of its release or of transformers."""

    adapted = LINEARS
    trains_tower = True
    original: ClassVar[tuple[str, str]] = ("Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl")

    vision: Annotated[str, WRITTEN_OUT] = ""
    template: str = "qwen_chat"
    image_tokens: tuple[Annotated[str, FILLED], Annotated[str, FILLED]] | None = (
        "<|vision_start|>",
        "<|vision_end|>",
    )
    max_length: Count = 8192
    min_pixels: Count = 512 * BUDGET
    """of a picture that is shown finely, as it is resized (projects/sa2va/datasets/base.py of bytedance/Sa2VA at 9832e1a)"""
    max_pixels: Count = 2048 * BUDGET
    frame_min_pixels: Count = 128 * BUDGET
    """of any other, such as a frame of a video"""
    frame_max_pixels: Count = 512 * BUDGET
    pace: Positive = 2.0
    """how far in time the layers of a piece of video stand apart: Qwen 2.5's tokens_per_second, 2, times the seconds between"""

    @property
    def look(self) -> Look:
        return Look(
            "cells",
            fine=(self.min_pixels, self.max_pixels),
            full=(self.frame_min_pixels, self.frame_max_pixels),
            depth=FRAMES,
            pace=self.pace,
        )

    def check(self, recipe: Recipe, /) -> None:
        super().check(recipe)
        if self.pool != "none":
            raise ValueError(
                f"backbone.pool={self.pool}: four patches of a Qwen-VL are one token already; set backbone.pool=none"
            )
        if recipe.engine.attention == "flex":
            raise ValueError(
                "engine.attention=flex: transformers has none for a Qwen-VL; set engine.attention=sdpa"
            )
        for least, most in (("min_pixels", "max_pixels"), ("frame_min_pixels", "frame_max_pixels")):
            if getattr(self, least) > getattr(self, most):
                raise ValueError(
                    f"backbone.{least}={getattr(self, least)} is more than backbone.{most}={getattr(self, most)}; set one of them"
                )

    def language_model(self, sizes: Mapping[str, Any]) -> tuple[PreTrainedConfig, type[nn.Module]]:
        import transformers

        name = GENERATIONS[sizes["model_type"]].name
        known = {key: value for key, value in sizes.items() if key != "model_type"}
        # The ids of transformers' defaults are no ids of a small vocabulary, and nothing here reads them.
        config = getattr(transformers, f"{name}TextConfig")(**known, bos_token_id=None, eos_token_id=None)
        return config, getattr(transformers, f"{name}TextModel")

    def tokenizer(self, folder: str, tokens: tuple[str, ...]) -> tuple[PreTrainedTokenizerFast, int]:
        tokenizer, found = own_tokenizer(folder, (*tokens, *(self.image_tokens or ())))
        ids = tokenizer.get_vocab()
        if absent := [token for token in self.image_tokens or () if ids[token] >= found]:
            raise WeightsError(
                f"{folder}: the tokenizer has no {' and no '.join(absent)}, so it is no Qwen-VL's; give the whole folder of one"
            )
        return tokenizer, found

    def side(self, vision: Mapping[str, Any]) -> int:
        return int(vision["patch_size"] * vision["spatial_merge_size"])

    def patches(self, vision: Mapping[str, Any]) -> int:
        return 1

    def build(self, sizes: Sizes, *, attention: str, precision: Precision) -> QwenVLBackbone:
        with importing():
            import transformers

            config, language_model = self.language_model(sizes.llm)
        own = GENERATIONS[sizes.llm["model_type"]]
        attend_by(config, attention)
        tower = getattr(transformers, f"{own.name}VisionConfig")(
            **{COUNTED.get(key, key): value for key, value in sizes.vision.items()}
        )
        tower._attn_implementation = "eager" if attention == "eager" else "sdpa"
        with default_dtype(computed_in(precision)):
            llm, vision = Speaker(language_model(config), config), getattr(transformers, own.tower)(tower)
        kind = Qwen3VLBackbone if own.name == "Qwen3VL" else QwenVLBackbone
        return kind(llm=llm, vision=vision, projector=nn.Identity(), select_layer=sizes.select_layer)

    def preprocessing(self, sizes: Sizes) -> dict[str, Any]:
        kind = Qwen3VLBackbone if sizes.llm["model_type"] == "qwen3_vl" else QwenVLBackbone
        return {
            "size": self.side(sizes.vision),
            "resize": "whole numbers of squares of that size, bicubic",
            "min_pixels": self.min_pixels,
            "max_pixels": self.max_pixels,
            "mean": list(kind.mean),
            "std": list(kind.std),
            "scale": "0..1",
        }

    @classmethod
    def knows(cls, names: Collection[str]) -> bool:
        return any(name.removeprefix("model.").startswith("visual.patch_embed.") for name in names)

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        from seglm.model.released.qwen_vl import load_qwen_vl

        return load_qwen_vl(path)


# ---- the module -----------------------------------------------------------------------------------------------------
class Speaker(nn.Module):
    """transformers' language model of a Qwen-VL with its head, put together as its other causal language models are."""

    def __init__(self, model: nn.Module, config: PreTrainedConfig) -> None:
        super().__init__()
        self.model: Any = model
        self.config = config
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_input_embeddings(self) -> nn.Embedding:
        embedding: nn.Embedding = self.model.embed_tokens
        return embedding

    def gradient_checkpointing_enable(self, how: Mapping[str, Any]) -> None:
        method_of(self.model, "activation_checkpointing_enable", "gradient_checkpointing_enable")(how)

    def gradient_checkpointing_disable(self) -> None:
        method_of(self.model, "activation_checkpointing_disable", "gradient_checkpointing_disable")()


class QwenVLBackbone(ProjectedBackbone):
    """Cells and ids in, the last hidden state out."""

    @property
    def vision_size(self) -> int:
        return int(self.vision.config.patch_size * self.vision.config.spatial_merge_size)

    @property
    def patches(self) -> int:
        return 1

    def see(self, pixels: Tensor, grids: Sequence[Grid] = ()) -> Tensor:
        """uint8 [N, 3, v, v], or float already normalised -> the token that each cell is in, [N, 1, (1 + E) D].

        grids: how the cells lie; empty: each is a picture. What DeepStack adds stands behind the token itself, depth by depth.
        No gradient reaches the tower unless some of it is trained (its last part, `vision.merger`, may be).
        """
        trains = any(parameter.requires_grad for parameter in self.vision.parameters())
        with torch.set_grad_enabled(trains and torch.is_grad_enabled()):
            return self._see(self.normalised(pixels), grids or ((1, 1, 1),) * len(pixels))

    def _see(self, pixels: Tensor, grids: Sequence[Grid]) -> Tensor:
        merge = self.vision.config.spatial_merge_size
        members, token_of = (index.to(pixels.device) for index in layers_of(grids))
        sizes = [(-(-frames // FRAMES), merge * rows, merge * columns) for frames, rows, columns in grids]
        cells = pixels.to(self.vision.patch_embed.proj.weight.dtype)[members]
        seen = self.vision(
            patches_of(cells, merge), grid_thw=torch.tensor(sizes, device=pixels.device), return_dict=True
        )
        depths = getattr(seen, "deepstack_features", None) or ()
        return torch.cat([seen.pooler_output, *depths], dim=-1)[token_of].unsqueeze(1)

    def embed(self, batch: Batch) -> Tensor:
        """Token embeddings with what is seen written at its recorded places: [R, T, D]."""
        return self._embed(batch)[0]

    def _embed(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """The same, and what DeepStack adds at these places behind the first layers: [V, D] for each depth."""
        embeds = self.llm.get_input_embeddings()(batch.ids.clamp(min=0)).to(self.dtype)
        trains = any(parameter.requires_grad for parameter in self.vision.parameters())
        if batch.image_at.shape[0] == 0 and not trains and not is_sharded(self.vision):
            return embeds, []
        pixels, side = batch.vision, self.vision_size
        if not pixels.shape[0]:  # every rank runs the tower
            pixels = pixels.new_zeros((1, 3, side, side))
        table = pixels if pixels.dim() == FEATURES_DIM else self.see(pixels, batch.grids)
        shown, *depths = table[batch.image_frame, 0].to(embeds.dtype).split(self.hidden_size, dim=-1)
        placed = embeds.flatten(0, 1).index_copy(0, batch.image_at, shown).view_as(embeds)
        return placed, depths if batch.image_at.shape[0] else []

    def hidden(self, batch: Batch, *, cache: Any = None) -> Tensor:
        """The state after the last norm, [R, T, D]; nothing of the layers below is kept."""
        embeds, depths = self._embed(batch)
        places = batch.positions.expand(3, -1, -1) if batch.rotary is None else batch.rotary
        rest: dict[str, Any] = {self._cache: cache}
        if depths:
            # transformers adds them in the order of the positions
            order = batch.image_at.argsort()
            shown = torch.zeros(batch.ids.numel(), dtype=torch.bool, device=embeds.device)
            rest["visual_pos_masks"] = shown.index_fill(0, batch.image_at, True).view_as(batch.ids)
            rest["deepstack_visual_embeds"] = [depth[order] for depth in depths]
        states: Tensor = self.llm.model(
            inputs_embeds=embeds,
            **self._attending(batch),
            position_ids=places,
            use_cache=cache is not None,
            **rest,
        ).last_hidden_state
        return states

    def go_on(self, ids: Tensor, *, free: Tensor, positions: Tensor, cache: Any) -> Tensor:
        return super().go_on(ids, free=free, positions=positions.expand(3, -1, -1), cache=cache)


class Qwen3VLBackbone(QwenVLBackbone):
    """The same with Qwen3-VL's normalisation (preprocessor_config.json of Qwen/Qwen3-VL-4B-Instruct)."""

    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def patches_of(cells: Tensor, merge: int) -> Tensor:
    """float [t, FRAMES, 3, v, v], the cells of each token -> its merge * merge patches, [t * merge * merge, pixels of a patch].

    In transformers' order: patch by patch of a token, and in a patch colour, frame, row and column.
    """
    # t f c (mh ph) (mw pw) -> t f c mh ph mw pw -> (t mh mw) (c f ph pw)
    parts = cells.unflatten(-1, (merge, -1)).unflatten(-3, (merge, -1))
    patches: Tensor = parts.permute(0, 3, 5, 2, 1, 4, 6).flatten(0, 2).flatten(1)
    return patches


def layers_of(grids: Sequence[Grid]) -> tuple[Tensor, Tensor]:
    """(int64 [t, FRAMES], the cells of each token, one of each frame of its layer; int64 [N], the token that a cell is in).

    A layer that is not full is filled with its last frame, as transformers' processors do it.
    """
    members, token_of, begin, tokens = [], [], 0, 0
    for frames, rows, columns in grids:
        cell, frame = torch.arange(rows * columns), torch.arange(frames)
        count = -(-frames // FRAMES)
        of_layer = torch.arange(count * FRAMES).clamp(max=frames - 1).view(count, 1, FRAMES)
        members.append((begin + of_layer * len(cell) + cell[:, None]).flatten(0, 1))
        token_of.append((tokens + (frame[:, None] // FRAMES) * len(cell) + cell).flatten())
        begin, tokens = begin + frames * len(cell), tokens + count * len(cell)
    return torch.cat(members), torch.cat(token_of)
