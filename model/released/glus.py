"""GLUS's merged folders (`Swindl/GLUS-S`, `-S-partial`, `-A`; GLUS-video/GLUS at 8fd138b): LISA's names, and below
`model.visual_model.` those of a SAM-2.0. CLIP is not in them; its place is in config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from seglm.model.released.lisa import lisa_names
from seglm.model.released.sam2 import sam2_names

if TYPE_CHECKING:
    from torch import Tensor

VISUAL = "model.visual_model."


def glus_names(raw: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """GLUS's merged or training names -> canonical names. Raises WrongNames that lists unknown names."""
    rest, sam2 = split(raw)
    return {**lisa_names(rest, source=source), **sam2_names(sam2, source=source, partly=True)}


def split(raw: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors that LISA has, too, and those of the SAM-2 under its own names."""
    rest = {name: tensor for name, tensor in raw.items() if VISUAL not in name}
    sam2 = {name.partition(VISUAL)[2]: tensor for name, tensor in raw.items() if VISUAL in name}
    return rest, sam2
