"""SAM's own checkpoints, `sam_vit_{b,l,h}_*.pth`, and folders with the same tensors.

The sizes are read from the shapes. transformers' `SamModel` has the same tensors under other names (`HF_NAMES`); it is
mapped. Every SAM that was released shares what the shapes do not say: 8 heads in the mask decoder, patch windows of 14.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seglm.model.released.checkpoint import Checkpoint, count_layers
from seglm.model.released.config_keys import chosen, number, section
from seglm.model.released.dims import ranked
from seglm.model.released.errors import WeightsError, WrongNames, WrongShapes
from seglm.model.released.files import config_of, read_tensors, shapes
from seglm.model.released.keymap import Rule, mapped

DECODER_HEADS = 8  # segment_anything/build_sam.py at dca509f
OTHER_SAM = "Give SAM's own sam_vit_*.pth, or transformers' conversion of it, as --vision_pretrained."
KIN = (  # (part of a name, what has it)
    ("hf_token", "an HQ-SAM"),
    ("image_encoder.trunk.", "a SAM 2"),
    ("sam_mask_decoder.", "a SAM 2"),
    ("image_encoder.layers.0.blocks.", "a MobileSAM"),
    ("vision_encoder.backbone.", "a SAM 2 or 3"),
)
WINDOW = 14  # the same; where no block is windowed nothing else says it

FIXED = {  # keys of transformers' SamConfig that change the forward -> what SAM's own modules do
    "vision_config": {
        "hidden_act": "gelu", "layer_norm_eps": 1e-6, "use_abs_pos": True, "use_rel_pos": True, "qkv_bias": True,
    },
    "prompt_encoder_config": {"hidden_act": "gelu", "layer_norm_eps": 1e-6},
    "mask_decoder_config": {"hidden_act": "relu", "layer_norm_eps": 1e-6, "attention_downsample_rate": 2},
}  # fmt: skip

SAM_NAMES: tuple[Rule, ...] = (
    (r"(?:decoder\.)?((?:image_encoder|prompt_encoder|mask_decoder)\..+)", r"decoder.\1"),
    (r"pixel_(?:mean|std)", None),  # constants; buffers in some exports
)
_LN = {"layer_norm1": "norm1", "layer_norm2": "norm2", "layer_norm3": "norm3", "layer_norm4": "norm4"}
_MLP_LAYER = (("proj_in", "layers.0"), ("layers.0", "layers.1"), ("proj_out", "layers.2"))
_ENC, _DEC = "vision_encoder", "mask_decoder"
# transformers 5.23, models/sam/modeling_sam.py <-> segment_anything dca509f
HF_NAMES: tuple[Rule, ...] = (
    (rf"{_ENC}\.patch_embed\.projection\.(.+)", r"decoder.image_encoder.patch_embed.proj.\1"),
    (rf"{_ENC}\.pos_embed", r"decoder.image_encoder.pos_embed"),
    *(
        (rf"{_ENC}\.layers\.(\d+)\.{old}\.(.+)", rf"decoder.image_encoder.blocks.\1.{new}.\2")
        for old, new in _LN.items()
    ),
    (rf"{_ENC}\.layers\.(\d+)\.((?:attn|mlp)\..+)", r"decoder.image_encoder.blocks.\1.\2"),
    *(
        (rf"{_ENC}\.neck\.{old}\.(.+)", rf"decoder.image_encoder.neck.{new}.\1")
        for old, new in (("conv1", 0), ("layer_norm1", 1), ("conv2", 2), ("layer_norm2", 3))
    ),
    (
        r"shared_image_embedding\.positional_embedding",
        r"decoder.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"prompt_encoder\.shared_embedding\.positional_embedding", None),  # a copy of the one above
    *(
        (rf"prompt_encoder\.mask_embed\.{old}\.(.+)", rf"decoder.prompt_encoder.mask_downscaling.{new}.\1")
        for old, new in (("conv1", 0), ("layer_norm1", 1), ("conv2", 3), ("layer_norm2", 4), ("conv3", 6))
    ),
    (r"prompt_encoder\.point_embed\.(\d)\.weight", r"decoder.prompt_encoder.point_embeddings.\1.weight"),
    (r"prompt_encoder\.((?:no_mask|not_a_point)_embed\.weight)", r"decoder.prompt_encoder.\1"),
    (rf"{_DEC}\.upscale_conv1\.(.+)", r"decoder.mask_decoder.output_upscaling.0.\1"),
    (rf"{_DEC}\.upscale_layer_norm\.(.+)", r"decoder.mask_decoder.output_upscaling.1.\1"),
    (rf"{_DEC}\.upscale_conv2\.(.+)", r"decoder.mask_decoder.output_upscaling.3.\1"),
    *(
        (
            rf"{_DEC}\.(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.{old}\.(.+)",
            rf"decoder.mask_decoder.\1.{new}.\2",
        )
        for old, new in _MLP_LAYER
    ),
    *(
        (
            rf"{_DEC}\.transformer\.layers\.(\d+)\.{old}\.(.+)",
            rf"decoder.mask_decoder.transformer.layers.\1.{new}.\2",
        )
        for old, new in _LN.items()
    ),
    (
        rf"{_DEC}\.transformer\.layer_norm_final_attn\.(.+)",
        r"decoder.mask_decoder.transformer.norm_final_attn.\1",
    ),
    (
        rf"{_DEC}\.((?:transformer\.(?:layers|final_attn_token_to_image)|iou_token|mask_tokens)\..+)",
        r"decoder.mask_decoder.\1",
    ),
)


def is_hf_sam(names: Mapping[str, Any]) -> bool:
    """True for the names of transformers' SamModel."""
    return any(name.startswith("vision_encoder.layers.") for name in names)


def load_sam(path: str | Path) -> Checkpoint:
    """Reads a SAM, `.pth` or folder, original or transformers' names.

    Raises WrongNames for a file that is not a whole SAM, WrongShapes for sizes that cannot be recognised.
    """
    source = str(path)
    raw = read_tensors(path)
    if kin := next((what for mark, what in KIN if any(mark in name for name in raw)), None):
        raise WrongNames(f"{source}: {kin}, which has parts that SAM has not. {OTHER_SAM}")
    table, layout = (HF_NAMES, "transformers SamModel") if is_hf_sam(raw) else (SAM_NAMES, "SAM .pth")
    tensors = mapped(raw, table, source=source, layout=layout, hint=OTHER_SAM)
    sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dims = sam_dims(sizes, source=source, config=config_of(path))
    return Checkpoint(source=source, kind="sam", tensors=tensors, decoder=dims)


def sam_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Canonical names and shapes of a SAM without reading its values."""
    raw = shapes(path)
    return mapped(raw, HF_NAMES if is_hf_sam(raw) else SAM_NAMES, source=str(path), layout="SAM")


def sam_dims(
    sizes: Mapping[str, tuple[int, ...]], *, source: str, config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The sizes (keys of `SamDims`) of a SAM with these canonical names and shapes.

    config: what a `config.json` beside the weights says; only the heads of the mask decoder and the windows are taken from it,
    because nothing else is left open by the shapes. Raises WrongNames if a part of SAM is absent, WeightsError for what our
    modules would compute otherwise.
    """
    encoder, prompt, mask = "decoder.image_encoder.", "decoder.prompt_encoder.", "decoder.mask_decoder."
    iou = f"{mask}iou_prediction_head.layers."
    needed = (f"{encoder}pos_embed", f"{prompt}no_mask_embed.weight", f"{mask}mask_tokens.weight")
    if absent := [name for name in needed if name not in sizes]:
        raise WrongNames(
            f"{source}: not a whole SAM, {', '.join(absent)} absent; give a sam_vit_*.pth (--vision_pretrained)"
        )
    depth = count_layers(sizes, f"{encoder}blocks.")
    tells = {f"{encoder}pos_embed": 4, f"{encoder}patch_embed.proj.weight": 4}
    tells |= {f"{encoder}blocks.{block}.attn.rel_pos_h": 2 for block in range(max(1, depth))}
    tells |= {f"{prompt}no_mask_embed.weight": 2, f"{mask}mask_tokens.weight": 2, f"{iou}0.weight": 2}
    tells |= {f"{mask}transformer.layers.0.mlp.lin1.weight": 2, f"{prompt}mask_downscaling.3.weight": 4}
    ranked(sizes, tells, source=source)
    grid = sizes[f"{encoder}pos_embed"][1]
    vit_dim, _, patch, _ = sizes[f"{encoder}patch_embed.proj.weight"]
    reach = [(sizes[f"{encoder}blocks.{block}.attn.rel_pos_h"][0] + 1) // 2 for block in range(depth)]
    windowed = sorted({side for side in reach if side != grid})
    if len(windowed) > 1:
        raise WrongShapes(
            f"{source}: blocks of the image encoder have windows of {windowed} patches; SAM has one size"
        )
    heads, window = _said(config or {}, source)
    width = sizes[f"{prompt}no_mask_embed.weight"][1]
    if width % (2 * heads):
        raise WeightsError(
            f"{source}: {heads} heads in a mask decoder of {width} channels; half of the channels must be a multiple (dec_heads)"
        )
    return {
        "vit_dim": vit_dim,
        "vit_depth": depth,
        "vit_heads": vit_dim // sizes[f"{encoder}blocks.0.attn.rel_pos_h"][1],
        "global_attn_indexes": tuple(block for block, side in enumerate(reach) if side == grid),
        "image_size": grid * patch,
        "patch": patch,
        "window_size": windowed[0] if windowed else window,
        "prompt_dim": width,
        "dec_depth": count_layers(sizes, f"{mask}transformer.layers."),
        "dec_heads": heads,
        "dec_mlp": sizes[f"{mask}transformer.layers.0.mlp.lin1.weight"][0],
        "iou_hidden": sizes[f"{iou}0.weight"][0],
        "iou_depth": count_layers(sizes, iou),
        "mask_in_chans": sizes[f"{prompt}mask_downscaling.3.weight"][0],
        "num_multimask": sizes[f"{mask}mask_tokens.weight"][0] - 1,
    }


def _said(config: Mapping[str, Any], source: str) -> tuple[int, int]:
    """(heads of the mask decoder, side of a window), in our spelling of the config or transformers'."""
    heads = number(config, "dec_heads", int, source=source)
    window = number(config, "window_size", int, source=source, least=0)
    if config.get("model_type") == "sam":
        parts = {part: section(config, part, source=source) for part in FIXED}
        for part, values in FIXED.items():
            for key, value in values.items():
                chosen(parts[part], key, (value,), source=f"{source}: {part}")
        heads = number(parts["mask_decoder_config"], "num_attention_heads", int, source=source)
        window = number(parts["vision_config"], "window_size", int, source=source, least=0)
    return heads or DECODER_HEADS, WINDOW if window is None else window
