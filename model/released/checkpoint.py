"""What every loader returns: canonical tensors and the sizes of the modules they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from seglm.model.sizes import ProjectorKind

if TYPE_CHECKING:
    from torch import Tensor


CLIP_L = {  # openai/clip-vit-large-patch14: what LLaVA v1 names and does not carry
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}


@dataclass(frozen=True)
class Checkpoint:
    """Weights read from disk, before a model exists. A part that the files do not hold is None."""

    source: str
    """where the weights came from, for messages"""
    tensors: Mapping[str, Tensor]
    """canonical name -> tensor, CPU, dtype as stored"""
    llm: dict[str, Any] | None = None
    """keyword arguments of transformers' config of it; `model_type` besides, where the backbone takes several kinds"""
    vision: dict[str, Any] | None = None
    """keyword arguments of transformers' CLIPVisionConfig or InternVLVisionConfig"""
    projector: ProjectorKind | None = None
    select_layer: int = -2
    """which hidden state of the vision tower is shown to the LLM"""
    vision_path: str | None = None
    """folder or hub id of the vision tower that the config names, where the files do not hold one"""
    decoder: dict[str, Any] | None = None
    """sizes of the mask decoder, keys of `SamDims`"""
    project: tuple[int, int] | None = None
    """(hidden size, prompt width) of the projection, where the files hold one"""
    lora_rank: int = 0
    """rank of the adapters among the tensors; 0 if there are none"""
    tokenizer: str | None = None
    """folder of the tokenizer files, if there are any beside the weights"""
    system: str | None = None
    recipe: str | None = None
    """what the files say about their own recipe"""
    manifest: dict[str, Any] = field(default_factory=dict)
    kind: str = ""
    """what the files are: `llava`, `clip`, `sam`, ...; empty for those of a system's own part"""
    joined_from: Mapping[str, str] = field(default_factory=dict)
    """kind -> where parts that were fetched from elsewhere came from"""
    origins: Mapping[str, str] = field(default_factory=dict)
    """tensor, or prefix of a part -> the place it was fetched from, where that is not `source`"""

    @property
    def places(self) -> tuple[str, ...]:
        """Every place that was read, the language model's first."""
        return tuple(self.bases.values())

    @property
    def bases(self) -> dict[str, str]:
        """Kind -> place, as a manifest keeps them."""
        return {self.kind: self.source, **self.joined_from}

    def joined(self, other: Checkpoint, *, prefixes: tuple[str, ...]) -> Checkpoint:
        """This checkpoint with the tensors of `other` that start with one of `prefixes`, and the sizes of those parts.

        A tensor that both hold stays this one's: a trained mask decoder is never overwritten by SAM's own.
        """
        taken = {name: tensor for name, tensor in other.tensors.items() if name.startswith(prefixes)}
        return replace(
            self,
            tensors={**taken, **self.tensors},
            vision=self.vision or other.vision,
            decoder=self.decoder or other.decoder,
            joined_from={**self.joined_from, other.kind or prefixes[0].rstrip("."): other.source},
            origins={
                **self.origins,
                **dict.fromkeys((*(taken.keys() - self.tensors.keys()), *prefixes), other.source),
            },
        )

    def without(self, prefixes: tuple[str, ...]) -> Checkpoint:
        """This checkpoint without the tensors that start with one of `prefixes`, as if it had never held them."""
        kept = {name: tensor for name, tensor in self.tensors.items() if not name.startswith(prefixes)}
        return replace(
            self,
            tensors=kept,
            decoder=None if "decoder." in prefixes else self.decoder,
            project=None if "project." in prefixes else self.project,
        )

    def place(self, name: str) -> str:
        """Where a tensor was read, or should have been."""
        if name in self.origins or name in self.tensors:
            return self.origins.get(name, self.source)
        return next((place for part, place in self.origins.items() if name.startswith(part)), self.source)

    def has(self, prefix: str) -> bool:
        """True if any tensor starts with `prefix`."""
        return any(name.startswith(prefix) for name in self.tensors)


def count_layers(shapes: Mapping[str, Any], prefix: str) -> int:
    """Number of numbered children below `prefix`, e.g. `decoder.image_encoder.blocks.`."""
    return len({name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)})
