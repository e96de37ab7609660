"""Pictures on their way into an image encoder: squares of float32, normalised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate


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
