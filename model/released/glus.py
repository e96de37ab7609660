"""GLUS's merged folders (`Swindl/GLUS-S`, `-S-partial`, `-A`; GLUS-video/GLUS at 8fd138b) and its training files.

The names are LISA's, but below `model.visual_model.` stands a SAM-2.0 under its own. CLIP is not in them; config.json names its
place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from seglm.model.released.sam2 import original_names, sam2_names

if TYPE_CHECKING:
    from torch import Tensor

VISUAL = "model.visual_model."
MARK = f"{VISUAL}sam_mask_decoder."
"""of a SAM-2, and of no SAM"""
ARCHITECTURE = "GLUSForCausalLM"


def is_glus(names: Iterable[str]) -> bool:
    return any(MARK in name for name in names)


def drawing(raw: Mapping[str, Tensor], *, source: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(tensors of other parts as they are called, those of the SAM-2 under our names), without what peft puts before every name.

    Raises WrongNames for what no SAM-2 has.
    """
    inside = {name for name in raw if name.startswith(VISUAL)}
    sam2 = {name.removeprefix(VISUAL): raw[name] for name in inside}
    rest = {name: tensor for name, tensor in raw.items() if name not in inside}
    return rest, sam2_names(sam2, source=source, partly=True)


def visual_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors of a SAM-2 as GLUS calls them."""
    return {f"{VISUAL}{name}": tensor for name, tensor in original_names(tensors).items()}
