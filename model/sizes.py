"""Every size that is needed to build the modules of a model; what a merged folder keeps of its bases' configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ProjectorKind = Literal["linear", "mlp2x_gelu", "internvl_mlp", "in_tower"]
BEFORE = {"llama": "llm", "clip": "vision", "sam": "decoder"}
"""names of the same in folders of the first versions"""


@dataclass(frozen=True)
class Sizes:
    """As the configs of the libraries spell them; the classes that a recipe chooses know what to do with them."""

    llm: Mapping[str, Any]
    """arguments of the language model's config"""
    vision: Mapping[str, Any]
    """arguments of the vision tower's config"""
    decoder: Mapping[str, Any]
    """sizes of the mask decoder"""
    projector: ProjectorKind = "linear"
    """`linear` (LLaVA v1), `mlp2x_gelu` (LLaVA 1.5), `internvl_mlp`, or `in_tower`: the vision tower ends in it"""
    select_layer: int = -2
    """which hidden state of the vision tower is shown to the LLM"""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Sizes:
        return cls(**{BEFORE.get(key, key): value for key, value in values.items()})
