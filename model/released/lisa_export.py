"""A merged model in the layout of the original LISA, VideoLISA or GLUS, for whoever's tools read that: the inverse of
`released/lisa.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.model.backbones.projected import Projected
from seglm.model.precision import computed_in
from seglm.model.recipe import Recipe
from seglm.model.released.glus import ARCHITECTURE, visual_names
from seglm.model.released.sam2 import UNTOLD
from seglm.model.released.transformers_4 import with_rotation, write_tokenizer
from seglm.model.sizes import Sizes

if TYPE_CHECKING:
    from torch import Tensor

# (our prefix, LISA's); the first that fits wins
PREFIXES: tuple[tuple[str, str], ...] = (
    ("llm.lm_head.", "lm_head."),
    ("llm.", "model."),
    ("projector.", "model.mm_projector."),
    ("decoder.", "model.visual_model."),
    ("project.", "model.text_hidden_fcs.0."),
    ("vision.", "model.vision_tower.vision_tower.vision_model."),  # as LLaVA names a tower of its own
)
IN_FLOAT32 = ("model.visual_model.", "model.text_hidden_fcs.")
BIN = "pytorch_model.bin"
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def lisa_name(name: str) -> str:
    """LISA's name of a canonical tensor that is no SAM-2's. Raises ValueError for what LISA does not have."""
    for ours, theirs in PREFIXES:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise ValueError(f"{name} has no place in LISA's layout; export with --format seglm")


def write_lisa(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    recipe: Recipe,
    sizes: Sizes,
    tokenizer: Any,
    own_tower: bool = False,
    base: str | None = None,
) -> None:
    """Writes `pytorch_model.bin`, the old LLaVA config and the tokenizer into a new folder.

    own_tower: whether the base holds its vision tower, so that this folder has to; a CLIP that lies elsewhere is left out, as
    in LISA's releases. The LLM is stored in the recipe's precision, SAM and the projection in float32.
    base: see `write_tokenizer`.
    """
    import torch

    folder.mkdir(parents=True)
    is_sam2 = any(name.startswith("decoder.memory_attention.") for name in tensors)
    drawing = {name for name in tensors if name.startswith("decoder.")} if is_sam2 else set()
    found = visual_names({name: tensors[name] for name in drawing}) if is_sam2 else {}
    found |= {
        lisa_name(name): tensor
        for name, tensor in tensors.items()
        if name not in drawing and (own_tower or not name.startswith("vision."))
    }
    state = {}
    for name, tensor in found.items():
        is_float32 = name.startswith(IN_FLOAT32)
        dtype = torch.float32 if is_float32 else computed_in(recipe.engine.precision)
        state[name] = tensor.detach().to("cpu", dtype).contiguous()
    torch.save(state, folder / BIN)
    backbone = recipe.backbone
    assert isinstance(backbone, Projected), f"{type(backbone)} has no place in LISA's layout"
    architecture, model_type = backbone.original
    architecture = ARCHITECTURE if is_sam2 else architecture
    config = {
        **with_rotation(sizes.llm),
        "architectures": [architecture],
        "model_type": model_type,
        "mm_hidden_size": sizes.vision["hidden_size"],
        "mm_projector_type": sizes.projector,
        "mm_use_im_start_end": backbone.image_tokens is not None,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": sizes.select_layer,
        "mm_vision_tower": backbone.vision,
        "vision_tower": backbone.vision,
        **({"vision_config": dict(sizes.vision)} if own_tower else {}),
        # not LISA's: the sizes of a SAM or a SAM-2 that shapes do not tell
        **{key: sizes.decoder[key] for key in (UNTOLD if is_sam2 else ("dec_heads",))},
        "out_dim": sizes.decoder["prompt_dim"],
        "torch_dtype": DTYPES[recipe.engine.precision],
        "train_mask_decoder": True,
        "use_cache": False,
        "use_mm_proj": True,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(folder, tokenizer, base)
