"""InternVL 2.5 and 3: an InternViT, pixel shuffle, a projector and a Qwen 2.5, Qwen 3 or InternLM 2 (as a Llama).

A picture is cut into at most 12 tiles of 448 pixels, behind which stands the whole of it; a frame of a video is one square. Four
neighbouring patches become one token, 256 a square.
Letters: N squares, p patches a side, C width of the tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from seglm.model.backbones.projected import Projected, ProjectedBackbone
from seglm.model.backbones.tokenizer import own_tokenizer
from seglm.model.precision import Precision, computed_in, default_dtype
from seglm.model.prefix_attention import attend_by
from seglm.model.sizes import ProjectorKind, Sizes
from seglm.utils.imports import importing
from seglm.utils.ranges import FILLED, WRITTEN_OUT, Count

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from seglm.model.recipe import Recipe

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""RGB on the 0..1 scale"""
SHUFFLED = 2  # patches a side that become one token: downsample_ratio 0.5 of every release
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""of each layer of the language model"""
PROJECTOR: ProjectorKind = "internvl_mlp"
"""LayerNorm, Linear, GELU, Linear: `mlp1` of the release"""


@dataclass(frozen=True)
class InternVL(Projected):
    """InternVL 2.5 or 3, in the layout of its release or of transformers."""

    adapted = LINEARS
    original: ClassVar[tuple[str, str]] = ("InternVLChatModel", "internvl_chat")

    vision: Annotated[str, WRITTEN_OUT] = ""
    template: str = "qwen_chat"
    image_tokens: tuple[Annotated[str, FILLED], Annotated[str, FILLED]] | None = ("<img>", "</img>")
    max_length: Count = 8192
    tiles: Count = 12
    """most tiles of a picture (max_dynamic_patch)"""

    @property
    def fit(self) -> Literal["crop", "fill"]:
        return "fill"

    @property
    def most_tiles(self) -> int:
        return self.tiles

    def check(self, recipe: Recipe, /) -> None:
        super().check(recipe)
        if self.pool != "none":
            raise ValueError(
                f"backbone.pool={self.pool}: four patches of an InternVL are one token already; set backbone.pool=none"
            )

    def language_model(self, sizes: Mapping[str, Any]) -> tuple[PreTrainedConfig, type[nn.Module]]:
        import transformers

        kind = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}[sizes["model_type"]]
        own = {key: value for key, value in sizes.items() if key != "model_type"}
        return getattr(transformers, f"{kind}Config")(**own), getattr(transformers, f"{kind}ForCausalLM")

    def tokenizer(self, folder: str, tokens: tuple[str, ...]) -> tuple[PreTrainedTokenizerFast, int]:
        return own_tokenizer(folder, (*tokens, *(self.image_tokens or ())))

    def patches(self, vision: Mapping[str, Any]) -> int:
        return super().patches(vision) // SHUFFLED**2

    def build(self, sizes: Sizes, *, attention: str, precision: Precision) -> InternVLBackbone:
        with importing():
            from transformers import InternVLVisionConfig, InternVLVisionModel

            config, language_model = self.language_model(sizes.llm)
        attend_by(config, attention)
        tower = InternVLVisionConfig(**sizes.vision)
        tower._attn_implementation = "eager" if attention == "eager" else "sdpa"
        wide, hidden = SHUFFLED**2 * tower.hidden_size, config.hidden_size
        with default_dtype(computed_in(precision)):
            llm, vision = language_model(config), InternVLVisionModel(tower)
            projector = nn.Sequential(
                nn.LayerNorm(wide), nn.Linear(wide, hidden), nn.GELU(), nn.Linear(hidden, hidden)
            )
        return InternVLBackbone(llm=llm, vision=vision, projector=projector, select_layer=sizes.select_layer)

    def preprocessing(self, sizes: Sizes) -> dict[str, Any]:
        return {
            "size": sizes.vision["image_size"],
            "resize": "both sides, bicubic",
            "tiles": self.tiles,
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "scale": "0..1",
        }


class InternVLBackbone(ProjectedBackbone):
    """Pixels and ids in, the last hidden state out."""

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    @property
    def vision_size(self) -> int:
        return int(self.vision.config.image_size[0])

    @property
    def patches(self) -> int:
        return int(self.vision_size // self.vision.config.patch_size[0] // SHUFFLED) ** 2

    @torch.no_grad()
    def see(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, v, v], or float already normalised -> features [N, P, 4 C]; frozen, no gradient."""
        weight = self.vision.embeddings.patch_embeddings.projection.weight
        hidden: Tensor = self.vision(self.normalised(pixels).to(weight.dtype)).last_hidden_state[:, 1:]
        return shuffled(hidden)


def shuffled(hidden: Tensor) -> Tensor:
    """float [N, p * p, C] -> [N, p * p / 4, 4 C]: of each two rows and two columns one token, its parts row by row.

    `pixel_shuffle` of InternVL's release (`ps_version` v2).
    """
    side = int(hidden.shape[1] ** 0.5)
    grid = hidden.unflatten(1, (side // SHUFFLED, SHUFFLED, side // SHUFFLED, SHUFFLED))
    tokens: Tensor = grid.transpose(2, 3).flatten(3, 5).flatten(1, 2)  # N r a c b C -> N (r c) (a b C)
    return tokens
