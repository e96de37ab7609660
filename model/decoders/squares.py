"""Pictures on their way into an image encoder: squares of float32, normalised; and what decoders of such squares have alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from seglm.model.decoders.base import PIXEL_MEAN, PIXEL_STD
from seglm.utils.dist import is_sharded

PIXELS_AT_ONCE = 4 << 20
"""of the squares that the encoder takes in one call, four of 1024 pixels: what a layer holds grows with them, and speed hardly"""


class Sizes(Protocol):
    """What is asked of a decoder's sizes."""

    @property
    def image_size(self) -> int: ...

    @property
    def prompt_dim(self) -> int: ...

    @property
    def grid(self) -> int: ...


class SquareDecoder(nn.Module):
    """A mask decoder, see `Decoder`, whose image encoder sees padded squares; `encode_squares` and `decode` are its own.

    Letters: M frames, I side of the square, g grid side.
    """

    mean: ClassVar[tuple[float, float, float]] = PIXEL_MEAN
    std: ClassVar[tuple[float, float, float]] = PIXEL_STD
    pixel_mean: Tensor
    pixel_std: Tensor
    image_encoder: Any

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self._sizes = sizes
        self.register_buffer("pixel_mean", torch.tensor(self.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(self.std).view(3, 1, 1), persistent=False)

    @property
    def image_size(self) -> int:
        return self._sizes.image_size

    @property
    def prompt_dim(self) -> int:
        return self._sizes.prompt_dim

    @property
    def at_once(self) -> int:
        """How many pictures the encoder takes in one call."""
        return max(1, PIXELS_AT_ONCE // self.image_size**2)

    @property
    def channels(self) -> int:
        """Of a frame's features."""
        return self.prompt_dim

    def blank(self, device: torch.device) -> Tensor:
        """Features [1, channels, g, g] of a frame that nobody looks at.

        The encoder is skipped, except under ZeRO-3, where every rank has to take part.
        """
        side, grid = self.image_size, self._sizes.grid
        if is_sharded(self.image_encoder):
            return self.encode(
                torch.zeros((1, 3, side, side), dtype=torch.uint8, device=device), [(side, side)]
            )
        return torch.zeros((1, self.channels, grid, grid), device=device)

    def normalise(self, frames: Sequence[Tensor] | Tensor, resized: Sequence[tuple[int, int]]) -> Tensor:
        """uint8 pictures -> float32 [M, 3, I, I], normalised (see `squares`)."""
        return squares(frames, resized, side=self.image_size, mean=self.pixel_mean, std=self.pixel_std)

    @torch.no_grad()
    def encode(self, frames: Sequence[Tensor] | Tensor, resized: Sequence[tuple[int, int]]) -> Tensor:
        """M frames (see `normalise`) -> features [M, channels, g, g] in the encoder's dtype; frozen, no gradient.

        In its own precision whatever the autocast, which would have every norm in float32. A few at once (`at_once`); under
        ZeRO-3 all, as every rank has to call the encoder equally often.
        """
        pictures = self.normalise(frames, resized).to(next(self.image_encoder.parameters()).dtype)
        at_once = len(pictures) if is_sharded(self.image_encoder) else self.at_once
        with torch.autocast(pictures.device.type, enabled=False):
            return torch.cat([self.encode_squares(some) for some in pictures.split(at_once)])

    def encode_squares(self, pictures: Tensor) -> Tensor:
        """float [M, 3, I, I], normalised -> their features, with gradient."""
        raise NotImplementedError(f"{type(self).__name__} encodes squares")


def squares(
    frames: Sequence[Tensor] | Tensor,
    resized: Sequence[tuple[int, int]],
    *,
    side: int,
    mean: Tensor,
    std: Tensor,
) -> Tensor:
    """uint8 pictures -> float32 [M, 3, side, side], normalised; frames that are float are taken as they are.

    frames: M of uint8 [3, h, w] no larger than `resized`, or squares [3, side, side] that hold the picture top left.
    resized: (height, width) of each picture inside its square, pixels. mean, std: float [3, 1, 1], on the 0..255 scale.
    The padding is zero *after* normalisation (SAM's `preprocess`). A smaller picture is enlarged here, bilinearly and
    in whole grey levels as Pillow does it, so that the loader moves a third of the bytes.
    """
    square = torch.zeros((len(frames), 3, side, side), device=mean.device)
    for place, frame, (height, width) in zip(square, frames, resized, strict=True):
        if frame.dtype != torch.uint8:
            place.copy_(frame)
            continue
        picture = (frame[:, :height, :width] if frame.shape[1:] == place.shape[1:] else frame).float()
        if picture.shape[1:] != (height, width):
            picture = interpolate(picture[None], (height, width), mode="bilinear", align_corners=False)[
                0
            ].round()
        place[:, :height, :width] = (picture - mean) / std
    return square
