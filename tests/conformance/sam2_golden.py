"""Our SAM-2 with the original's weights, of the sizes that the JSON beside them says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from seglm.model.decoders.sam2 import Sam2Decoder
from seglm.model.decoders.sam2_dims import Sam2Dims
from seglm.model.released.sam2 import sam2_names
from tests.conformance.goldens import facts, tensors, weights_of

FAMILIES = ("sam2", "sam2_0")
OVERRIDE = "override."


def dims_of(config: Mapping[str, Any], flags: Mapping[str, Any]) -> Sam2Dims:
    """The sizes as the goldens spell them."""
    hiera, two_way, attention = config["hiera"], config["two_way"], config["memory_attention"]
    return Sam2Dims(
        embed_dim=hiera["embed_dim"],
        heads=hiera["num_heads"],
        stages=tuple(hiera["stages"]),
        global_attn_blocks=tuple(hiera["global_att_blocks"]),
        window_spec=tuple(hiera["window_spec"]),
        pos_embed_size=tuple(hiera["window_pos_embed_bkg_spatial_size"]),
        image_size=config["image_size"],
        prompt_dim=config["d_model"],
        memory_dim=config["mem_dim"],
        temporal_positions=flags["num_maskmem"],
        attn_layers=attention["num_layers"],
        attn_mlp=attention["dim_feedforward"],
        fuser_layers=config["fuser"]["num_layers"],
        fuser_kernel=config["fuser"]["kernel_size"],
        dec_depth=two_way["depth"],
        dec_heads=two_way["num_heads"],
        dec_mlp=two_way["mlp_dim"],
        iou_hidden=two_way["iou_head_hidden_dim"],
        iou_depth=two_way["iou_head_depth"],
        mask_in_chans=two_way["mask_in_chans"],
        num_multimask=two_way["num_multimask_outputs"],
        occlusion_embedding=flags.get("no_obj_embed_spatial", False),
        pointer_positions=flags.get("proj_tpos_enc_in_obj_ptrs", False),
    )


def weights(family: str, case: str) -> dict[str, Tensor]:
    """The case's tensors under the original's names; of those that two versions share only what this one has."""
    raw, _ = weights_of(family, case)
    keys = facts(family, "weights", "model.json")["keys"]
    over = {
        name.removeprefix(OVERRIDE): value
        for name, value in tensors(family, case, "io.safetensors").items()
        if name.startswith(OVERRIDE)
    }
    return {**{name: raw[name] for name in keys}, **over}


def family_dims(family: str) -> Sam2Dims:
    said = facts(family, "weights", "model.json")
    return dims_of(said["config"], said["sam2_flags"])


def said_dims(family: str) -> dict[str, Any]:
    """The same as `config.json` beside the weights would say it."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(family_dims(family)).items()}


def decoder_of(family: str, case: str) -> Sam2Decoder:
    """Every tensor of the case is loaded strictly."""
    decoder = Sam2Decoder(family_dims(family))
    named = sam2_names(weights(family, case), source=f"{family}/{case}")
    decoder.load_state_dict({name.removeprefix("decoder."): value for name, value in named.items()})
    return decoder.eval()
