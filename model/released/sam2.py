"""SAM-2's own checkpoints, `sam2_hiera_*.pt` and `sam2.1_hiera_*.pt`, read strictly and written again; and folders with the same
tensors.

transformers' `Sam2VideoModel` has the tensors under other names, which ours are (`HF_NAMES`). What no shape tells, the heads, the
windows and the blocks with global attention, is known of every SAM-2 that was released (RELEASED); of another one `config.json`
beside the weights has to say it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.released.checkpoint import Checkpoint, count_layers
from seglm.model.released.dims import ranked
from seglm.model.released.errors import WeightsError, WrongNames
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.keymap import Rule, mapped

if TYPE_CHECKING:
    from torch import Tensor

OTHER_SAM2 = "Give SAM-2's own sam2_hiera_*.pt or sam2.1_hiera_*.pt, or transformers' conversion of it, as --vision_pretrained."
HEADS = 8  # of the mask decoder, sam2/modeling/sam2_base.py at 2b90b9f
RELEASED: Mapping[tuple[int, tuple[int, ...]], dict[str, Any]] = {
    (96, (1, 2, 7, 2)): {"heads": 1, "global_attn_blocks": (5, 7, 9), "window_spec": (8, 4, 14, 7)},
    (96, (1, 2, 11, 2)): {"heads": 1, "global_attn_blocks": (7, 10, 13), "window_spec": (8, 4, 14, 7)},
    (112, (2, 3, 16, 3)): {"heads": 2, "global_attn_blocks": (12, 16, 20), "window_spec": (8, 4, 14, 7)},
    (144, (2, 6, 36, 4)): {"heads": 2, "global_attn_blocks": (23, 33, 43), "window_spec": (8, 4, 16, 8)},
}
"""(channels of the first stage, blocks of each stage) -> what they do not tell; tiny, small, base+ and large (sam2/configs)"""
UNTOLD = ("heads", "global_attn_blocks", "window_spec", "image_size", "dec_heads")
"""sizes that no shape tells"""
POINTS = "decoder.prompt_encoder.point_embed.weight"
POINT = re.compile(r"decoder\.prompt_encoder\.point_embeddings\.(\d)\.weight")

Pair = tuple[str, str]
NORMS: tuple[Pair, ...] = tuple((f"norm{n}", f"layer_norm{n}") for n in (1, 2, 3, 4))
MLP: tuple[Pair, ...] = (("layers.0", "proj_in"), ("layers.1", "layers.0"), ("layers.2", "proj_out"))
TWO_LAYERS: tuple[Pair, ...] = (("mlp.layers.0", "mlp.proj_in"), ("mlp.layers.1", "mlp.proj_out"))
ATTENTION = r"(?:self_attn|cross_attn_image|cross_attn_token_to_image|cross_attn_image_to_token|final_attn_token_to_image)"


def _inside(original: str, ours: str, pairs: tuple[Pair, ...], *, same: str = "") -> tuple[Pair, ...]:
    """Parts of one module; same: those that are called alike."""
    alike = tuple((name, name) for name in same.split())
    return tuple((f"{original}.{old}", f"{ours}.{new}") for old, new in pairs + alike)


def _decoder(pairs: tuple[Pair, ...] = (), *, below: str = "", same: str = "") -> tuple[Pair, ...]:
    return _inside(f"sam_mask_decoder{below}", f"mask_decoder{below}", pairs, same=same)


DOWNSCALING = (("0", "conv1"), ("1", "layer_norm1"), ("3", "conv2"), ("4", "layer_norm2"), ("6", "conv3"))
UPSCALING = (("0", "upscale_conv1"), ("1", "upscale_layer_norm"), ("3", "upscale_conv2"))
FUSER = (
    ("dwconv", "depthwise_conv"),
    ("norm", "layer_norm"),
    ("pwconv1", "pointwise_conv1"),
    ("pwconv2", "pointwise_conv2"),
)
DOWNSAMPLER = tuple(
    pair
    for n in range(4)
    for pair in (
        (f"encoder.{3 * n}", f"layers.{n}.conv"),
        (f"encoder.{3 * n + 1}", f"layers.{n}.layer_norm"),
    )
)
TRUNK, HIERA = "image_encoder.trunk", "image_encoder.backbone"
# (original, ours), `#` is a number; names without their last part (weight or bias), which stays
PARTS: tuple[Pair, ...] = (
    (f"{TRUNK}.patch_embed.proj", f"{HIERA}.patch_embed.projection"),
    *_inside(
        f"{TRUNK}.blocks.#", f"{HIERA}.blocks.#", NORMS[:2] + TWO_LAYERS, same="attn.qkv attn.proj proj"
    ),
    ("image_encoder.neck.convs.#.conv", "image_encoder.neck.convs.#"),
    *_inside(
        "sam_prompt_encoder", "prompt_encoder", (), same="no_mask_embed not_a_point_embed point_embeddings.#"
    ),
    *_inside("sam_prompt_encoder.mask_downscaling", "prompt_encoder.mask_embed", DOWNSCALING),
    *_decoder(same="iou_token mask_tokens obj_score_token conv_s0 conv_s1"),
    *_inside("sam_mask_decoder.output_upscaling", "mask_decoder", UPSCALING),
    *_decoder(NORMS + TWO_LAYERS, below=".transformer.layers.#"),
    *_decoder((("norm_final_attn", "layer_norm_final_attn"),), below=".transformer"),
    *_decoder(MLP, below=".output_hypernetworks_mlps.#"),
    *_decoder(MLP, below=".pred_obj_score_head"),
    *_decoder(MLP, below=".iou_prediction_head"),
    *_inside("memory_attention.layers.#", "memory_attention.layers.#", NORMS[:3], same="linear1 linear2"),
    ("memory_attention.norm", "memory_attention.layer_norm"),
    ("memory_encoder.pix_feat_proj", "memory_encoder.feature_projection"),
    ("memory_encoder.out_proj", "memory_encoder.projection"),
    *_inside("memory_encoder.fuser.layers.#", "memory_encoder.memory_fuser.layers.#", FUSER),
    *_inside("memory_encoder.mask_downsampler", "memory_encoder.mask_downsampler", DOWNSAMPLER),
    ("memory_encoder.mask_downsampler.encoder.12", "memory_encoder.mask_downsampler.final_conv"),
    ("mask_downsample", "mask_downsample"),
    *_inside("obj_ptr_proj", "object_pointer_proj", MLP),
    ("obj_ptr_tpos_proj", "temporal_positional_encoding_projection_layer"),
)
# whole names
WHOLE: tuple[Pair, ...] = (
    ("image_encoder.trunk.pos_embed", "image_encoder.backbone.pos_embed"),
    ("image_encoder.trunk.pos_embed_window", "image_encoder.backbone.pos_embed_window"),
    (
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "prompt_encoder.shared_embedding.positional_embedding",
    ),
    ("memory_encoder.fuser.layers.#.gamma", "memory_encoder.memory_fuser.layers.#.scale"),
    ("maskmem_tpos_enc", "memory_temporal_positional_encoding"),
    ("no_mem_embed", "no_memory_embedding"),
    ("no_mem_pos_enc", "no_memory_positional_encoding"),
    ("no_obj_ptr", "no_object_pointer"),
    ("no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
)
# attentions: (original prefix, ours); the output layer is called otherwise
ATTENDING: tuple[Pair, ...] = (
    ("sam_mask_decoder.transformer.", "mask_decoder.transformer."),
    ("memory_attention.", "memory_attention."),
)


def _rules(*, back: bool) -> tuple[Rule, ...]:
    """The table as rules from the original's names to ours, or back."""
    before, after = (r"decoder\.", "") if back else ("", "decoder.")
    last_layer, called = ("o_proj", "out_proj") if back else ("out_proj", "o_proj")

    def rule(pair: Pair, tail: str) -> Rule:
        old, new = pair[::-1] if back else pair
        pattern = re.escape(old).replace(r"\#", r"(\d+)")
        number = count(1)
        wanted = re.sub("#", lambda _: rf"\{next(number)}", new)
        return f"{before}{pattern}{tail}", f"{after}{wanted}" + (rf".\{next(number)}" if tail else "")

    found: list[Rule] = []
    for pair in ATTENDING:
        old, new = pair[::-1] if back else pair
        inside = rf"{before}{re.escape(old)}((?:layers\.\d+\.)?{ATTENTION}\.)"
        found.append((rf"{inside}([qkv]_proj\..+)", rf"{after}{new}\1\2"))
        found.append((rf"{inside}{last_layer}(\..+)", rf"{after}{new}\1{called}\2"))
    found += [rule(pair, r"\.(weight|bias)") for pair in PARTS]
    return (*found, *(rule(pair, "") for pair in WHOLE))


SAM2_NAMES: tuple[Rule, ...] = (
    *_rules(back=False),
    # what Sa2VA's converter calls `gamma`, because transformers would mangle it
    (
        r"memory_encoder\.fuser\.layers\.(\d+)\.g_weight",
        r"decoder.memory_encoder.memory_fuser.layers.\1.scale",
    ),
)
"""SAM-2 at 2b90b9f -> ours"""
ORIGINAL_NAMES: tuple[Rule, ...] = _rules(back=True)
"""and back"""
MODULES = (
    "prompt_encoder",
    "mask_decoder",
    "memory_attention",
    "memory_encoder",
    "mask_downsample",
    "object_pointer_proj",
    "temporal_positional_encoding_projection_layer",
)
HF_NAMES: tuple[Rule, ...] = (
    (r"vision_encoder\.(.+)", r"decoder.image_encoder.\1"),
    (
        r"shared_image_embedding\.positional_embedding",
        None,
    ),  # a copy of prompt_encoder.shared_embedding
    (rf"((?:{'|'.join(MODULES)})\..+)", r"decoder.\1"),
    *((new, f"decoder.{new}") for old, new in WHOLE if "." not in old),
)
"""transformers 5.24, models/sam2_video/modeling_sam2_video.py -> ours"""


def is_sam2(names: Iterable[str]) -> bool:
    """True for names of a SAM-2, its own, transformers' or ours: no SAM has a memory."""
    return any(name.removeprefix("decoder.").startswith("memory_attention.") for name in names)


def load_sam2(path: str | Path) -> Checkpoint:
    """Reads a SAM-2, `.pt` or folder, original names, transformers' or ours.

    Raises WrongNames for a file that is not a whole SAM-2, WeightsError for sizes that cannot be told.
    """
    source = str(path)
    raw = read_tensors(path)
    if all(name.startswith("decoder.") for name in raw):
        tensors = raw
    elif any(name.startswith("vision_encoder.") for name in raw):
        tensors = mapped(raw, HF_NAMES, source=source, layout="transformers Sam2VideoModel", hint=OTHER_SAM2)
    else:
        tensors = sam2_names(raw, source=source)
    sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dims = sam2_dims(sizes, source=source, config=config_of(path))
    return Checkpoint(source=source, kind="sam2", tensors=tensors, decoder=dims)


def sam2_names(raw: Mapping[str, Tensor], *, source: str, partly: bool = False) -> dict[str, Tensor]:
    """The tensors of an original SAM-2 under our names, or of a part of one. Raises WrongNames for what it does not have."""
    import torch

    tensors = mapped(dict(raw), SAM2_NAMES, source=source, layout="SAM-2 .pt", hint=OTHER_SAM2)
    points = {found[1]: name for name in tensors if (found := POINT.fullmatch(name))}
    if partly and not points:
        return tensors
    if sorted(points) != [str(number) for number in range(len(points))] or not points:
        raise WrongNames(f"{source}: point embeddings {sorted(points)}; a SAM-2 has 0 to 3. {OTHER_SAM2}")
    tensors[POINTS] = torch.cat([tensors.pop(points[number]) for number in sorted(points)])
    return tensors


def original_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors of a SAM-2 under the names of its own `.pt`, where they stand below the key `model`."""
    split = {name: tensor for name, tensor in tensors.items() if name != POINTS}
    for number, row in enumerate(tensors[POINTS].split(1)):
        split[f"decoder.prompt_encoder.point_embeddings.{number}.weight"] = row
    return mapped(split, ORIGINAL_NAMES, source="the model", layout="SAM-2")


def sam2_dims(
    sizes: Mapping[str, tuple[int, ...]], *, source: str, config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The sizes (keys of `Sam2Dims`) of a SAM-2 with these canonical names and shapes.

    config: what a `config.json` in our spelling beside the weights says; only what no shape tells is taken from it. Raises
    WrongNames if a part of SAM-2 is absent, WeightsError for a SAM-2 that none of the released ones is and that says nothing.
    """
    trunk = "decoder.image_encoder.backbone."
    tells = {
        f"{trunk}patch_embed.projection.weight": 4,
        f"{trunk}pos_embed": 4,
        f"{trunk}pos_embed_window": 4,
    }
    ranked(sizes, tells, source=source)
    embed = sizes[f"{trunk}pos_embed"][1]
    stages = _stages(sizes, f"{trunk}blocks.")
    said = untold(
        UNTOLD,
        {"image_size": 1024, "dec_heads": HEADS, **RELEASED.get((embed, stages), {})},
        config or {},
        what=f"{source}: a SAM-2 of {embed} channels, blocks {stages} is none of the released ones (tiny, small, base+, large)",
    )
    return {
        **shared_dims(sizes, source=source),
        **said,
        "embed_dim": embed,
        "stages": stages,
        "pos_embed_size": tuple(sizes[f"{trunk}pos_embed"][2:]),
    }


def shared_dims(sizes: Mapping[str, tuple[int, ...]], *, source: str) -> dict[str, Any]:
    """What of `TrackerDims` the shapes tell: of all parts but the image encoder. Raises WrongNames if one is absent."""
    prompt, mask = "decoder.prompt_encoder.", "decoder.mask_decoder."
    fuser = "decoder.memory_encoder.memory_fuser.layers."
    iou = f"{mask}iou_prediction_head."
    tells = {
        f"{prompt}no_mask_embed.weight": 2,
        f"{prompt}mask_embed.conv3.weight": 4,
        f"{mask}mask_tokens.weight": 2,
    }
    tells |= {f"{mask}transformer.layers.0.mlp.proj_in.weight": 2, f"{iou}proj_in.weight": 2}
    tells |= {
        "decoder.memory_temporal_positional_encoding": 4,
        "decoder.memory_attention.layers.0.linear1.weight": 2,
    }
    tells |= {f"{fuser}0.depthwise_conv.weight": 4}
    ranked(sizes, tells, source=source)
    positions = sizes["decoder.memory_temporal_positional_encoding"]
    return {
        "prompt_dim": sizes[f"{prompt}no_mask_embed.weight"][1],
        "memory_dim": positions[3],
        "temporal_positions": positions[0],
        "attn_layers": count_layers(sizes, "decoder.memory_attention.layers."),
        "attn_mlp": sizes["decoder.memory_attention.layers.0.linear1.weight"][0],
        "fuser_layers": count_layers(sizes, fuser),
        "fuser_kernel": sizes[f"{fuser}0.depthwise_conv.weight"][2],
        "dec_depth": count_layers(sizes, f"{mask}transformer.layers."),
        "dec_mlp": sizes[f"{mask}transformer.layers.0.mlp.proj_in.weight"][0],
        "iou_hidden": sizes[f"{iou}proj_in.weight"][0],
        "iou_depth": 2 + count_layers(sizes, f"{iou}layers."),
        "mask_in_chans": sizes[f"{prompt}mask_embed.conv3.weight"][1],
        "num_multimask": sizes[f"{mask}mask_tokens.weight"][0] - 1,
        "occlusion_embedding": "decoder.occlusion_spatial_embedding_parameter" in sizes,
        "pointer_positions": "decoder.temporal_positional_encoding_projection_layer.weight" in sizes,
    }


def _stages(sizes: Mapping[str, tuple[int, ...]], blocks: str) -> tuple[int, ...]:
    """Blocks of each stage: the first block of every stage but the first makes its input wider."""
    depth = count_layers(sizes, blocks)
    starts = [0, *(block for block in range(depth) if f"{blocks}{block}.proj.weight" in sizes), depth]
    return tuple(end - start for start, end in zip(starts, starts[1:], strict=False))


def untold(
    asked: Sequence[str], known: Mapping[str, Any], given: Mapping[str, Any], *, what: str
) -> dict[str, Any]:
    """Sizes that no shape tells: those that are given, else those that are known.

    given: None is nothing. what: the weights, and why nothing is known of them. Raises WeightsError that lists what is absent.
    """
    said = {
        key: tuple(given[key]) if isinstance(given[key], list) else given[key]
        for key in asked
        if given.get(key) is not None
    }
    found = {**known, **said}
    if absent := [key for key in asked if key not in found]:
        raise WeightsError(
            f"{what}, and no shape tells {', '.join(absent)}; put a config.json with them beside the weights"
        )
    return found
