"""What every mask decoder shares: the way from low-resolution logits back to the original pixels."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""SAM's own, RGB, on the 0..255 scale (segment_anything/build_sam.py at dca509f)"""


def restore(logits_JKhw: Tensor, *, resized: tuple[int, int], size: tuple[int, int], square: int) -> Tensor:
    """Brings decoder logits of one picture to its original size, for losses and prediction alike.

    logits_JKhw: float [J, K, h, w], logits of the padded square on the decoder's grid.
    resized: (height, width) of the picture inside the square, pixels; it lies top left.
    size: (H, W), original pixels. square: side of the padded square, pixels.
    Returns float32 [J, K, H, W], logits. Both steps are bilinear without aligned corners, as in segment_anything's
    `postprocess_masks` (modeling/sam.py at dca509f); an empty J stays empty.
    """
    if logits_JKhw.shape[0] == 0:
        return logits_JKhw.new_zeros((0, logits_JKhw.shape[1], *size)).float()
    full = interpolate(logits_JKhw.float(), (square, square), mode="bilinear", align_corners=False)
    return interpolate(full[..., : resized[0], : resized[1]], size, mode="bilinear", align_corners=False)
