"""The tracker of SAM-3 from transformers' folders, read strictly: of a whole SAM-3 (`facebook/sam3`, `Sam3VideoModel`), of its
tracker alone (`Sam3TrackerVideoModel`), or of ours.

In a whole SAM-3 the tracker shares the detector's image encoder and has a neck of its own; what belongs to the detector alone is
left there. What no shape tells, the heads and windows of the encoder, is known of the SAM-3 that was released (RELEASED); of
another one `config.json` beside the weights has to say it. Meta's own `sam3.pt` was not at hand and is not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

from seglm.model.released.checkpoint import Checkpoint, count_layers
from seglm.model.released.dims import ranked
from seglm.model.released.files import config_of, read_tensors
from seglm.model.released.keymap import Rule, mapped
from seglm.model.released.sam2 import HF_NAMES, shared_dims, untold

OTHER_SAM3 = "Give transformers' folder of facebook/sam3 as --vision_pretrained."
RELEASED: Mapping[tuple[int, int], dict[str, Any]] = {
    (1024, 32): {
        "vit_heads": 16, "window_size": 24, "global_attn_indexes": (7, 15, 23, 31), "image_size": 1008, "dec_heads": 8,
    },
}  # fmt: skip
"""(channels, layers of the image encoder) -> what they do not tell (transformers 5.24, models/sam3/configuration_sam3.py)"""
UNTOLD = ("vit_heads", "window_size", "global_attn_indexes", "image_size", "dec_heads")
"""sizes that no shape tells"""
ENCODER, NECK = "detector_model.vision_encoder.backbone.", "tracker_neck."
WHOLE_NAMES: tuple[Rule, ...] = (
    (r"detector_model\.vision_encoder\.backbone\.(.+)", r"decoder.image_encoder.backbone.\1"),
    (r"tracker_neck\.(.+)", r"decoder.image_encoder.neck.\1"),
    (r"detector_model\..+", None),  # finds things by words
    *((rf"tracker_model\.{pattern}", name) for pattern, name in HF_NAMES),
)
"""transformers 5.24, `Sam3VideoModel` -> ours (conversion_mapping.py, `sam3_tracker`)"""


def is_sam3(names: Iterable[str]) -> bool:
    """True for names of a SAM-3's tracker, with its detector or without, transformers' or ours."""
    own = ("decoder.image_encoder.neck.fpn_layers.", "vision_encoder.neck.fpn_layers.", NECK)
    return any(name.startswith(own) for name in names)


def load_sam3_tracker(path: str | Path) -> Checkpoint:
    """Reads the tracker of a SAM-3 from a folder or file.

    Raises WrongNames for what is no whole tracker, WeightsError for sizes that cannot be told.
    """
    source = str(path)
    raw = read_tensors(path)
    if all(name.startswith("decoder.") for name in raw):
        tensors = raw
    else:
        whole = any(name.startswith(ENCODER) for name in raw)
        table, layout = (WHOLE_NAMES, "Sam3VideoModel") if whole else (HF_NAMES, "Sam3TrackerVideoModel")
        tensors = mapped(raw, table, source=source, layout=f"transformers {layout}", hint=OTHER_SAM3)
    sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dims = sam3_tracker_dims(sizes, source=source, config=config_of(path))
    return Checkpoint(source=source, kind="sam3", tensors=tensors, decoder=dims)


def sam3_tracker_dims(
    sizes: Mapping[str, tuple[int, ...]], *, source: str, config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The sizes (keys of `Sam3TrackerDims`) of a tracker with these canonical names and shapes. Raises as `sam2_dims`."""
    vit = "decoder.image_encoder.backbone."
    patches, places, mlp = (
        f"{vit}embeddings.patch_embeddings.projection.weight",
        f"{vit}embeddings.position_embeddings",
        f"{vit}layers.0.mlp.fc1.weight",
    )
    ranked(sizes, {patches: 4, places: 3, mlp: 2}, source=source)
    dim, depth = sizes[patches][0], count_layers(sizes, f"{vit}layers.")
    return {
        **shared_dims(sizes, source=source),
        **untold(
            UNTOLD,
            RELEASED.get((dim, depth), {}),
            _said(config or {}),
            what=f"{source}: a SAM-3 tracker of {dim} channels, {depth} layers is not the released one",
        ),
        "vit_dim": dim,
        "vit_depth": depth,
        "vit_mlp": sizes[mlp][0],
        "patch": sizes[patches][2],
        "pos_embed_size": isqrt(sizes[places][1]),
    }


def _said(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a `config.json` says of UNTOLD, in our words or transformers'; None of what it leaves out."""
    tracker = config.get("tracker_config") or config
    detector = config.get("detector_config") or config
    backbone = (detector.get("vision_config") or {}).get("backbone_config") or {}
    theirs = {
        "vit_heads": backbone.get("num_attention_heads"),
        "window_size": backbone.get("window_size"),
        "global_attn_indexes": backbone.get("global_attn_indexes"),
        "image_size": backbone.get("image_size"),
        "dec_heads": (tracker.get("mask_decoder_config") or {}).get("num_attention_heads"),
    }
    return {key: config.get(key, theirs[key]) for key in UNTOLD}
