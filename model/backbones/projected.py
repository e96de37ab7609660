"""A CLIP tower whose features are projected into a language model: what LLaVA and its relatives share.

The parts are Hugging Face's own classes, held side by side, not inside one of its vision-language models, because visual features
are written at places that were recorded when the dialogue was encoded, and because the language head runs on the few positions
that need it.
Letters: R rows, T tokens of a row, N frames, P patches of a frame, V visual tokens of the batch, D hidden size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from seglm.model.attention import any_mask, as_mask
from seglm.model.backbones.base import BackboneChoice
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.templates import template
from seglm.model.precision import Precision, computed_in, default_dtype
from seglm.model.prefix_attention import attend_by, how_to_attend
from seglm.model.sizes import Sizes
from seglm.utils.batch import Batch
from seglm.utils.containers import WeightsError
from seglm.utils.dist import is_sharded
from seglm.utils.imports import importing
from seglm.utils.ranges import FILLED, Count
from seglm.utils.renamed import argument_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from seglm.model.recipe import Recipe
    from seglm.model.released.checkpoint import Checkpoint

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""RGB on the 0..1 scale; the values of openai/clip-vit-large-patch14's preprocessor"""
CACHE = ("cache", "past_key_values")
"""what a language model's forward calls its cache: from transformers 5.24 on, and before; 5.40 takes the first only"""
Pool = Literal["none", "1x4", "2x2"]
FEATURES_DIM = 3  # of what the tower makes of frames; of pixels it is one more
POOLED = 4  # patches whose mean is one token, where there is a pool
SELECT_LAYER = -2
"""LLaVA reads the output of the last block but one (mm_vision_select_layer)"""


@dataclass(frozen=True)
class Projected(BackboneChoice):
    """CLIP, a projector and a language model; which one, and how dialogues are written for it, says the class below."""

    adapted: ClassVar[tuple[str, ...]]
    """linear layers of each decoder layer of the language model, which adapters may be put on"""
    original: ClassVar[tuple[str, str]]
    """`architectures` and `model_type` in the config.json of the published system on this language model"""

    template: str = field(kw_only=True)
    """chat template, a name in `model/backbones/templates.py`"""
    image_tokens: tuple[Annotated[str, FILLED], Annotated[str, FILLED]] | None = field(kw_only=True)
    """tokens written around every image, or None"""
    pool: Pool = field(default="none", kw_only=True)
    """a frame is shown as the means of four patches each, taken before the projector: `1x4` beside each other, `2x2` a square"""
    max_length: Count = field(kw_only=True)
    """longest dialogue in training, in tokens with one image expanded (what a clip shows beyond that does not count); a longer
    one is cut or, if it loses a slot, an error"""

    @abstractmethod
    def language_model(self, sizes: Mapping[str, Any]) -> tuple[PreTrainedConfig, type[nn.Module]]:
        """The config of the language model, from `Sizes.llm`, and its class."""

    @abstractmethod
    def tokenizer(self, folder: str, tokens: tuple[str, ...]) -> tuple[PreTrainedTokenizerFast, int]:
        """The tokenizer with the recipe's tokens added, and how many tokens its files hold."""

    def check(self, recipe: Recipe, /) -> None:
        template(self.template)
        lora = recipe.trainable.lora
        if strange := [name for name in lora.targets if lora.r > 0 and name not in self.adapted]:
            raise ValueError(
                f"trainable.lora.targets (--lora_target_modules): {', '.join(strange)} would get no adapter; "
                f"permitted are {', '.join(self.adapted)}. What is trained in full stands in trainable.full"
            )

    def read(self, model: str | None = None, *, vision: str | None = None) -> Checkpoint:
        from seglm.model.released.open import open_weights

        if model is None:
            return open_weights(self.weights, vision=self.vision, revision=self.revision)
        return open_weights(model, vision=vision, vision_else=self.vision)

    def encoder(self, checkpoint: Checkpoint, tokens: tuple[str, ...]) -> DialogueEncoder:
        if checkpoint.tokenizer is None or checkpoint.vision is None:
            what = "tokenizer files" if checkpoint.tokenizer is None else "vision tower"
            raise WeightsError(
                f"{checkpoint.source}: no {what}; give the whole folder of the model as --version"
            )
        tokenizer, found = self.tokenizer(checkpoint.tokenizer, tokens)
        return DialogueEncoder(
            tokenizer=tokenizer,
            found=found,
            template=template(self.template),
            patches=self.patches(checkpoint.vision),
            image_tokens=self.image_tokens,
            tokens=tokens,
            max_length=self.max_length,
            look=self.look,
            side=self.side(checkpoint.vision),
        )

    def side(self, vision: Mapping[str, Any]) -> int:
        """Side of a square, pixels; vision: the tower's sizes."""
        return int(vision["image_size"])

    def patches(self, vision: Mapping[str, Any]) -> int:
        """Visual tokens of one square; vision: the tower's sizes."""
        return tokens_of(int(vision["image_size"] // vision["patch_size"]) ** 2, self.pool)

    def build(self, sizes: Sizes, *, attention: str, precision: Precision) -> ProjectedBackbone:
        with importing():
            from transformers import CLIPVisionConfig, CLIPVisionModel

            config, language_model = self.language_model(sizes.llm)
        attend_by(config, attention)
        with default_dtype(computed_in(precision)):
            llm, vision = language_model(config), CLIPVisionModel(CLIPVisionConfig(**sizes.vision))
        projector = _projector(sizes.projector, int(sizes.vision["hidden_size"]), config.hidden_size)
        return ProjectedBackbone(
            llm=llm, vision=vision, projector=projector, select_layer=sizes.select_layer, pool=self.pool
        )

    def preprocessing(self, sizes: Sizes) -> dict[str, Any]:
        return {
            "size": sizes.vision["image_size"],
            "resize": "shortest side, bicubic",
            "crop": "centre",
            "mean": list(CLIP_MEAN),
            "std": list(CLIP_STD),
            "scale": "0..1",
        }


class ProjectedBackbone(nn.Module):
    """Pixels and ids in, the last hidden state out."""

    mean, std = CLIP_MEAN, CLIP_STD
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        llm: nn.Module,
        vision: nn.Module,
        projector: nn.Module,
        select_layer: int = SELECT_LAYER,
        pool: Pool = "none",
    ) -> None:
        """llm: a causal language model of Hugging Face's. vision: CLIPVisionModel. projector: float [..., vision width] -> float
        [..., D]."""
        super().__init__()
        self.llm: Any = llm
        self.vision: Any = vision
        self.projector = projector
        self.select_layer = select_layer
        self.pool = pool
        layers: Any = llm.model
        self._cache = argument_of(layers.forward, *CACHE)
        self.register_buffer("pixel_mean", torch.tensor(self.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(self.std).view(3, 1, 1), persistent=False)

    @property
    def patches(self) -> int:
        """Visual tokens of one frame."""
        return tokens_of(int(self.vision_size // self.vision.config.patch_size) ** 2, self.pool)

    @property
    def vision_size(self) -> int:
        return int(self.vision.config.image_size)

    @property
    def hidden_size(self) -> int:
        return int(self.llm.config.hidden_size)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.llm.lm_head.weight.device
        return device

    @property
    def window(self) -> int | None:
        """How many tokens of a dialogue a token looks back on, itself among them; None: all."""
        window: int | None = getattr(self.llm.config, "sliding_window", None)
        return window

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which frozen weights are kept and the residual stream flows."""
        dtype: torch.dtype = self.llm.model.norm.weight.dtype
        return dtype

    def normalised(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, v, v] -> float; what is float is normalised already."""
        if pixels.dtype != torch.uint8:
            return pixels
        return (pixels.float() / 255 - self.pixel_mean) / self.pixel_std

    @torch.no_grad()
    def see(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, v, v], or float already normalised -> features [N, P, vision width]; frozen, no gradient.

        Only the blocks up to the selected one are run: the last block of CLIP is never needed.
        """
        tower, pixels = self.vision, self.normalised(pixels)
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
            return embeds + self._nothing_seen()  # type: ignore[no-any-return]
        is_seen = batch.vision.dim() == FEATURES_DIM
        seen = batch.vision if is_seen else self.see(_at_least_one(batch.vision, self.vision_size))
        table = self.projector(pooled(seen, self.pool))
        features = visual_tokens(table, batch.image_frame, batch.image_patch).to(embeds.dtype)
        return embeds.flatten(0, 1).index_copy(0, batch.image_at, features).view_as(embeds)  # type: ignore[no-any-return]

    def _nothing_seen(self) -> Tensor | int:
        """0 that hangs on a projector that is trained: on every rank it then takes part, also in a batch without a picture."""
        first = next(self.projector.parameters())
        if not first.requires_grad:
            return 0
        nothing: Tensor = 0 * self.projector(first.new_zeros((1, first.shape[-1]))).sum()
        return nothing.to(self.dtype)

    def hidden(self, batch: Batch, *, cache: Any = None) -> Tensor:
        """The state after the last norm, [R, T, D]; nothing of the layers below is kept."""
        return self.llm.model(  # type: ignore[no-any-return]
            inputs_embeds=self.embed(batch),
            **self._attending(batch),
            position_ids=batch.positions,
            use_cache=cache is not None,
            **{self._cache: cache},
        ).last_hidden_state

    def _attending(self, batch: Batch) -> dict[str, Any]:
        """Who may look at whom, as arguments of the language model."""
        how = self.llm.config._attn_implementation
        return how_to_attend(batch, implementation=how, dtype=self.dtype, window=self.window)

    def head(self, states: Tensor) -> Tensor:
        """The language head: [..., D] -> vocabulary logits [..., V]."""
        logits: Tensor = self.llm.lm_head(states)
        return logits

    def table(self) -> Tensor:
        """The embedding of every word, [V, D]. The module is called, as ZeRO-3 wants, but its padding row has a gradient here."""
        embed = self.llm.get_input_embeddings()
        every = torch.arange(embed.num_embeddings, device=self.device)
        padding, embed.padding_idx = embed.padding_idx, None
        try:
            table: Tensor = embed(every)
        finally:
            embed.padding_idx = padding
        return table

    # ---- one token at a time -----------------------------------------------------------------------------------------
    @contextmanager
    def generating(self) -> Iterator[Any]:
        """Inside, dialogues are continued one token at a time; gives the cache for `hidden` and `go_on`."""
        from transformers import DynamicCache

        with any_mask(self.llm):
            yield DynamicCache()

    def go_on(self, ids: Tensor, *, free: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """The states [R, Q, D] of ids int64 [R, Q] behind what the cache holds; free: bool [R, 1, Q, T]."""
        mask = as_mask(free, implementation=self.llm.config._attn_implementation, dtype=self.dtype)
        return self.llm.model(  # type: ignore[no-any-return]
            inputs_embeds=self.llm.get_input_embeddings()(ids).to(self.dtype),
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            **{self._cache: cache},
        ).last_hidden_state


def tokens_of(patches: int, pool: Pool) -> int:
    """Visual tokens of a frame of so many patches. Raises ValueError where they are no multiple of the pool."""
    side = isqrt(patches)
    if pool == "none":
        return patches
    if patches % POOLED or (pool == "2x2" and side % 2):
        raise ValueError(
            f"backbone.pool={pool}: a frame of {side} x {side} patches is no whole number of such pools; set backbone.pool=none"
        )
    return patches // POOLED


def pooled(features_NPD: Tensor, pool: Pool) -> Tensor:
    """Features of patches in rows -> the means of four each, [N, P / 4, D].

    `1x4`: four that follow each other (GLUS, model/llava/model/llava_arch.py:95-105 at 8fd138b). `2x2`: those of a square.
    """
    if pool == "none":
        return features_NPD
    if pool == "1x4":
        return features_NPD.unflatten(1, (-1, POOLED)).mean(2)  # type: ignore[no-any-return]
    half = isqrt(features_NPD.shape[1]) // 2
    squares = features_NPD.unflatten(1, (half, 2, half, 2))  # P -> rows, 2, columns, 2
    return squares.mean((2, 4)).flatten(1, 2)  # type: ignore[no-any-return]


def visual_tokens(table_NPD: Tensor, frames: Tensor, patches: Tensor) -> Tensor:
    """The token [V, D] of each place: a patch of a frame, or where `patches` says P the mean of all patches of it.

    frames, patches: int64 [V].
    """
    return torch.cat([table_NPD, table_NPD.mean(1, keepdim=True)], dim=1)[frames, patches]


def _projector(kind: str, wide: int, hidden: int) -> nn.Module:
    if kind == "linear":
        return nn.Linear(wide, hidden)
    if kind == "mlp2x_gelu":
        return nn.Sequential(nn.Linear(wide, hidden), nn.GELU(), nn.Linear(hidden, hidden))
    raise ValueError(f"unknown projector {kind!r}; known are linear (LLaVA v1) and mlp2x_gelu (LLaVA 1.5)")


def _at_least_one(pixels: Tensor, side: int) -> Tensor:
    if pixels.shape[0]:
        return pixels
    return torch.zeros((1, 3, side, side), dtype=torch.uint8, device=pixels.device)
