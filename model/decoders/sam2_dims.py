"""The sizes of a SAM-2, and transformers' modules made of them; those of SAM-3's tracker but for its image encoder.

The modules are those of `Sam2VideoModel` or `Sam3TrackerVideoModel` (transformers 5.24), whose code is the same. Two things its
classes fix are set here by the sizes: the width of a memory as memory attention reads it (64 there), and the two layers of an MLP
in the mask decoder (as many as blocks there).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from seglm.model.decoders.base import sizes_of
from seglm.utils.imports import importing

if TYPE_CHECKING:
    from torch import nn

QUERY_POOLS = 3  # stage changes of Hiera at which the grid is halved
STRIDE = 16  # pixels of a cell on the grid of memories and of the deepest features: 4 by the patches, 4 by two of the halvings
LEVELS = 3  # of the feature pyramid that are used; the lowest one is made and dropped (scalp=1)
TOP_DOWN = [2, 3]  # levels to which the one below is added
POINT_KINDS = 4  # negative, positive, top left and bottom right of a box
ROPE_THETA = 10_000.0
MASK_LAYERS = 4  # halvings of a mask on its way into a memory


@dataclass(frozen=True)
class TrackerDims(ABC):
    """The sizes of what SAM-2 and the tracker of SAM-3 share: all but the image encoder. The defaults are those of SAM-2.1."""

    kind: ClassVar[str]
    """for messages"""
    hf_name: ClassVar[str]
    """how the names of transformers' classes begin"""

    image_size: int = 1024
    """side of the square that the encoder sees, pixels"""
    prompt_dim: int = 256
    memory_dim: int = 64
    """channels of a memory"""
    temporal_positions: int = 7
    """that a memory can have: conditioning frames share one, each of the frames before has its own"""
    attn_layers: int = 4
    """of memory attention"""
    attn_mlp: int = 2048
    fuser_layers: int = 2
    fuser_kernel: int = 7
    dec_depth: int = 2
    dec_heads: int = 8
    dec_mlp: int = 2048
    iou_hidden: int = 256
    iou_depth: int = 3
    mask_in_chans: int = 16
    num_multimask: int = 3
    occlusion_embedding: bool = True
    """since SAM-2.1: memories of a frame without the object say so"""
    pointer_positions: bool = True
    """since SAM-2.1: object pointers say how far away their frame is"""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Pixels of a cell on the grid of memories and of the deepest features."""

    @property
    def grid(self) -> int:
        return self.image_size // self.stride

    @abstractmethod
    def vision_config(self) -> dict[str, Any]:
        """Of the image encoder, in transformers' words."""

    @classmethod
    def of(cls, config: Mapping[str, object]) -> Self:
        """Reads the dictionary that a folder keeps. Raises ValueError on an unknown key and on sizes that fit no such model."""
        return sizes_of(cls, config, cls.kind)

    def __post_init__(self) -> None:
        if self.image_size % (2 * self.stride):
            raise ValueError(
                f"image_size={self.image_size}: a {self.kind} needs a multiple of {2 * self.stride} pixels"
            )
        if self.prompt_dim % self.memory_dim:
            raise ValueError(
                f"memory_dim={self.memory_dim}: an object pointer of prompt_dim={self.prompt_dim} numbers is cut into "
                "tokens of that width, so it has to be a divisor"
            )


@dataclass(frozen=True)
class Sam2Dims(TrackerDims):
    """The sizes of a SAM-2; the defaults are those of `sam2.1_hiera_large`."""

    kind: ClassVar[str] = "SAM-2"
    hf_name: ClassVar[str] = "Sam2Video"

    embed_dim: int = 144
    """channels of Hiera's first stage; each stage has twice as many as the one before, and twice as many heads"""
    heads: int = 2
    stages: tuple[int, ...] = (2, 6, 36, 4)
    """blocks of each stage"""
    global_attn_blocks: tuple[int, ...] = (23, 33, 43)
    window_spec: tuple[int, ...] = (8, 4, 16, 8)
    """side of the attention windows of each stage"""
    pos_embed_size: tuple[int, int] = (7, 7)
    """grid on which the positional embedding is kept"""

    @property
    def stride(self) -> int:
        return STRIDE

    def vision_config(self) -> dict[str, Any]:
        channels = [self.embed_dim * 2**stage for stage in range(len(self.stages))]
        backbone = {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": self.embed_dim,
            "num_attention_heads": self.heads,
            "image_size": [self.image_size, self.image_size],
            "window_positional_embedding_background_size": list(self.pos_embed_size),
            "num_query_pool_stages": QUERY_POOLS,
            "blocks_per_stage": list(self.stages),
            "embed_dim_per_stage": channels,
            "num_attention_heads_per_stage": [self.heads * 2**stage for stage in range(len(self.stages))],
            "window_size_per_stage": list(self.window_spec),
            "global_attention_blocks": list(self.global_attn_blocks),
        }
        return {
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": channels[::-1],
            "fpn_top_down_levels": TOP_DOWN,
            "num_feature_levels": LEVELS,
        }

    def __post_init__(self) -> None:
        if len(self.stages) != len(self.window_spec) or len(self.stages) != QUERY_POOLS + 1:
            raise ValueError(
                f"SAM-2 has {QUERY_POOLS + 1} stages: stages={self.stages}, window_spec={self.window_spec}"
            )
        super().__post_init__()


def make_modules(dims: TrackerDims) -> Any:
    """A Sam2VideoModel or Sam3TrackerVideoModel of these sizes with fresh weights, whose parts are taken."""
    with importing():
        import transformers
        from torch import nn

    model: Any = getattr(transformers, f"{dims.hf_name}Model")(_config(dims))
    for layer in model.memory_attention.layers:
        attention = layer.cross_attn_image
        for name in ("k_proj", "v_proj"):
            setattr(attention, name, nn.Linear(dims.memory_dim, dims.prompt_dim))
    for block in model.mask_decoder.transformer.layers:
        block.mlp = _two_layers(block.mlp, dims)
    return model


def _two_layers(mlp: nn.Module, dims: TrackerDims) -> nn.Module:
    kind: Any = type(mlp)
    two: nn.Module = kind(dims.prompt_dim, dims.dec_mlp, dims.prompt_dim, num_layers=2)
    return two


def _config(dims: TrackerDims) -> Any:
    """Whole dictionaries for each part: of an empty one transformers makes a config of another part."""
    import transformers

    width, grid = dims.prompt_dim, dims.grid
    vision = {
        **dims.vision_config(),
        "backbone_feature_sizes": [[grid * 4] * 2, [grid * 2] * 2, [grid] * 2],
        "fpn_hidden_size": width,
    }
    prompt = {
        "hidden_size": width,
        "image_size": dims.image_size,
        "patch_size": dims.stride,
        "mask_input_channels": dims.mask_in_chans,
        "num_point_embeddings": POINT_KINDS,
    }
    decoder = {
        "hidden_size": width,
        "mlp_dim": dims.dec_mlp,
        "num_hidden_layers": dims.dec_depth,
        "num_attention_heads": dims.dec_heads,
        "num_multimask_outputs": dims.num_multimask,
        "iou_head_depth": dims.iou_depth,
        "iou_head_hidden_dim": dims.iou_hidden,
    }
    kind: Any = getattr(transformers, f"{dims.hf_name}Config")
    return kind(
        vision_config=vision,
        prompt_encoder_config=prompt,
        mask_decoder_config=decoder,
        image_size=dims.image_size,
        num_maskmem=dims.temporal_positions,
        enable_occlusion_spatial_embedding=dims.occlusion_embedding,
        enable_temporal_pos_encoding_for_object_pointers=dims.pointer_positions,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=dims.attn_layers,
        memory_attention_feed_forward_hidden_size=dims.attn_mlp,
        memory_attention_rope_feat_sizes=[grid, grid],
        # A frozen module is not to be shaken while others are trained; SAM-2's own training has 0.1.
        memory_attention_dropout=0.0,
        memory_attention_rope_dropout=0.0,
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=dims.memory_dim,
        rope_parameters={"rope_type": "axial", "rope_theta": ROPE_THETA},
        mask_downsampler_embed_dim=width,
        mask_downsampler_total_stride=2**MASK_LAYERS,
        memory_fuser_num_layers=dims.fuser_layers,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=4 * width,
        memory_fuser_kernel_size=dims.fuser_kernel,
        memory_fuser_padding=dims.fuser_kernel // 2,
    )
