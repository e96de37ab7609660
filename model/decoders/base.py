"""What every mask decoder shares: the choice in a recipe, the module that it builds, and the way back to the original pixels."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar, runtime_checkable

from seglm.utils.config import Choice
from seglm.utils.ranges import Count, Place
from seglm.utils.resolve import resolve

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from seglm.model.decoders.sam2_memory import Memory, MemoryPolicy
    from seglm.model.released.checkpoint import Checkpoint

Dims = TypeVar("Dims")
log = logging.getLogger(__name__)
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""SAM's own, RGB, on the 0..255 scale (segment_anything/build_sam.py at dca509f)"""


@dataclass(frozen=True)
class DecoderChoice(Choice, ABC):
    """A mask decoder as a recipe names it; `build` makes the module."""

    weights: Place
    """file or folder of the decoder before any training"""
    image_size: Count
    """side of the padded square that the encoder sees, pixels"""
    mark: ClassVar[str] = "image_encoder."
    """a part of the names by which weights hold such a mask decoder"""
    begins_anew: ClassVar[bool] = False
    """a training takes `weights` even where the LLM's folder holds a mask decoder"""

    @property
    def stretches(self) -> bool:
        """A picture fills the encoder's square, whatever its sides; else its long side does, and the rest is padding."""
        return False

    @property
    def memory(self) -> MemoryPolicy | None:
        """What is remembered from frame to frame where a video is drawn; None: every frame is drawn for itself."""
        return None

    @property
    def training_memory(self) -> MemoryPolicy | None:
        """The same where drawing is learnt."""
        return None

    def at(self, folder: str) -> Self:
        """The same with its weights in a folder, as a merged model holds them."""
        return replace(self, weights=folder)

    @abstractmethod
    def complete(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint with this decoder's own weights and sizes, where it holds none."""

    def begin(self, checkpoint: Checkpoint) -> Checkpoint:
        """The same for the start of a training."""
        return self.complete(checkpoint)

    @abstractmethod
    def build(self, sizes: Mapping[str, Any]) -> Decoder:
        """The module, its weights fresh. sizes: `Sizes.decoder`. Raises ValueError for sizes that contradict the recipe."""

    def preprocessing(self) -> dict[str, Any]:
        """How pictures reach the image encoder, in words and numbers; for readers of a merged folder."""
        return {
            "size": self.image_size,
            **(
                {"resize": "both sides, bilinear"}
                if self.stretches
                else {"resize": "longest side, bilinear", "pad": "right and bottom, zero after normalisation"}
            ),
            "mean": list(PIXEL_MEAN),
            "std": list(PIXEL_STD),
            "scale": "0..255",
        }

    def _completed(self, checkpoint: Checkpoint, load: Callable[[Path], Checkpoint], name: str) -> Checkpoint:
        """See `complete`. load: reads the file or folder `weights`; name: the decoder's, for messages."""
        if checkpoint.has(f"decoder.{self.mark}"):
            if self.weights != checkpoint.source:
                log.info("%s holds its own %s; %s is not read", checkpoint.source, name, self.weights)
            return checkpoint
        own = load(resolve(self.weights, what=f"{name} (--vision_pretrained)"))
        return checkpoint.joined(own, prefixes=("decoder.",))

    def _check_side(self, side: int, name: str) -> None:
        """Raises ValueError if weights are for pictures of another side than the recipe's, pixels."""
        if side != self.image_size:
            raise ValueError(
                f"decoder.image_size is {self.image_size}, but this {name} was made for {side}; set decoder.image_size={side}"
            )


def sizes_of(kind: type[Dims], config: Mapping[str, object], name: str) -> Dims:
    """The dataclass of a decoder's sizes, from the dictionary that a folder keeps in config.json; name: for messages.

    Raises ValueError on an unknown key.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := set(config) - known - {"model_type"}:
        raise ValueError(f"unknown {name} sizes {sorted(unknown)}; known are {sorted(known)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    values.pop("model_type", None)
    return kind(**values)


class Decoder(Protocol):
    """Pixels and prompts in, masks out; an nn.Module whose `image_encoder` is frozen.

    Letters: M frames, J jobs, C channels, g grid side, P prompt vectors, K masks of a job, h w logits.
    A submodule is no member of this protocol: since Python 3.12 `isinstance` does not find what nn.Module keeps for itself, and
    no decoder would be a `Remembers`.
    """

    @property
    def image_size(self) -> int:
        """Side of the padded square, pixels."""
        ...

    @property
    def prompt_dim(self) -> int:
        """C."""
        ...

    def encode(self, frames: Sequence[Tensor] | Tensor, resized: Sequence[tuple[int, int]]) -> Tensor:
        """M frames (uint8 [3, h, w], or float squares that are normalised) -> features [M, ...]; no gradient.

        resized: (height, width) of each picture inside the square, pixels.
        """
        ...

    def blank(self, device: torch.device) -> Tensor:
        """The features of one frame that nobody looks at."""
        ...

    def decode(self, features: Tensor, prompts_JPC: Tensor) -> tuple[Tensor, Tensor]:
        """Each job's features and prompt -> logits float32 [J, K, h, w] and estimated IoU float32 [J, K]."""
        ...


@dataclass(frozen=True, eq=False)
class Followed:
    """The objects of one frame of a walk, in the order in which they were asked for."""

    logits: Tensor
    """float32 [J, 1, h, w]"""
    iou: Tensor
    """float32 [J, 1], estimated"""
    score: Tensor | None
    """float32 [J, 1], logits: above 0 the object can be seen; None where the policy has it that nobody asks"""


@runtime_checkable
class Remembers(Decoder, Protocol):
    """A mask decoder that may look back on what it drew before; what it remembers is a value, none of it lies in the module."""

    def remembering(
        self, policy: MemoryPolicy, *, backwards: bool = False, num_frames: int | None = None
    ) -> Memory:
        """The memory of a walk that begins; num_frames: of the whole video, where that is known."""
        ...

    def follow(
        self, features: Tensor, prompts_JPC: Tensor | None, memory: Memory, *, frame: int
    ) -> tuple[Followed, Memory]:
        """A frame of all objects of a walk, and the memory behind it.

        features: [1 or J, ...]. prompts_JPC: None where the objects are found by what is remembered of them.
        """
        ...


@runtime_checkable
class TakesBoxes(Decoder, Protocol):
    """A mask decoder that boxes can prompt, too."""

    def prompts_of_boxes(self, boxes_B4: Tensor) -> Tensor:
        """float [B, 4], (x0, y0, x1, y1), pixels of the padded square, half open -> prompts [B, P, C]."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...

    def eval(self) -> Self: ...


@runtime_checkable
class TakesPoints(Decoder, Protocol):
    """A mask decoder that points can prompt, too."""

    def a_point(self) -> Tensor:
        """float [C]: what is added to the position of a point inside a thing."""
        ...


def restore(
    logits_JKhw: Tensor,
    *,
    resized: tuple[int, int],
    size: tuple[int, int],
    square: int,
    stretched: bool = False,
) -> Tensor:
    """Brings decoder logits of one picture to its original size, for losses and prediction alike.

    logits_JKhw: float [J, K, h, w], logits of the square on the decoder's grid.
    resized: (height, width) of the picture inside the square, pixels; it lies top left.
    size: (H, W), original pixels. square: side of the square, pixels. stretched: the picture fills the square.
    Returns float32 [J, K, H, W], logits. Both steps are bilinear without aligned corners, as in segment_anything's
    `postprocess_masks` (modeling/sam.py at dca509f); a picture that fills the square needs one (SAM-2's own, utils/transforms.py
    at 2b90b9f). An empty J stays empty.
    """
    from torch.nn.functional import interpolate

    if logits_JKhw.shape[0] == 0:
        return logits_JKhw.new_zeros((0, logits_JKhw.shape[1], *size)).float()
    if stretched:
        return interpolate(logits_JKhw.float(), size, mode="bilinear", align_corners=False)
    full = interpolate(logits_JKhw.float(), (square, square), mode="bilinear", align_corners=False)
    return interpolate(full[..., : resized[0], : resized[1]], size, mode="bilinear", align_corners=False)
