"""Pictures in the sizes the two encoders see, as uint8; normalisation happens in the model.

Two modes. `peer` uses the filters of the originals (Pillow) and is equal to them byte by byte. `fast` is within one grey level:
a picture that SAM wants larger is enlarged by the model, and PyTorch's antialiased filters make pictures smaller, which are
Pillow's on vector instructions. (OpenCV has no antialiased ones: its bilinear and
bicubic sampling of a picture that shrinks is off by 30 levels and more.) The bicubic one has weights of 16 bits against Pillow's
22; in drawings with perfectly flat areas, fewer than one value in 10,000 is off by two levels beside an edge.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Mode = Literal["fast", "peer"]
Filter = Literal["bilinear", "bicubic"]

THINNEST = (
    32  # sides of a picture that is seen whole before its middle is cut out; no photograph comes near it
)
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def vision_pixels(image: Pixels, size: int, *, mode: Mode, fit: Literal["crop", "fill"] = "crop") -> Pixels:
    """uint8 [3, size, size]: what CLIP's image processor makes of a picture, before it is normalised.

    image: uint8 [H, W, 3], RGB. The short side is resized to `size` (bicubic), the middle square is cut out; what lies outside is
    invisible to the LLM, as in LISA. fit: `fill` resizes the whole picture to the square instead, as InternVL has it.
    """
    if fit == "fill":
        return np.ascontiguousarray(_resize(image, (size, size), "bicubic", mode))
    image = _middle(image)
    height, width = image.shape[:2]
    short = min(height, width)
    # The long side is rounded down, and so is the margin: transformers' get_resize_output_image_size and center_crop.
    resized = (size, int(size * width / short)) if height <= width else (int(size * height / short), size)
    whole = _resize(image, resized, "bicubic", mode)
    top, left = (resized[0] - size) // 2, (resized[1] - size) // 2
    return np.ascontiguousarray(whole[:, top : top + size, left : left + size])


def vision_tiles(image: Pixels, size: int, grid: tuple[int, int], *, mode: Mode) -> list[Pixels]:
    """The tiles of a picture, row by row, and behind them the whole of it, each uint8 [3, size, size].

    grid: rows and columns (`utils/tiles.py`); of one tile it is the whole picture alone. The picture is resized to the whole grid
    first (bicubic): InternVL's dynamic_preprocess (magic-research/Sa2VA at d01bf3f).
    """
    rows, columns = grid
    whole = vision_pixels(image, size, mode=mode, fit="fill")
    if rows * columns == 1:
        return [whole]
    large = _resize(image, (rows * size, columns * size), "bicubic", mode)
    places = [(row * size, column * size) for row in range(rows) for column in range(columns)]
    return [*(large[:, top : top + size, left : left + size] for top, left in places), whole]


def vision_cells(image: Pixels, side: int, grid: tuple[int, int], *, mode: Mode) -> Pixels:
    """The cells of a picture, row by row, uint8 [rows * columns, 3, side, side].

    grid: rows and columns (`utils/tiles.py`), to whose pixels the picture is resized (bicubic), as Qwen-VL has it.
    """
    rows, columns = grid
    whole = _resize(image, (rows * side, columns * side), "bicubic", mode)
    parts = whole.reshape(3, rows, side, columns, side).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(parts.reshape(rows * columns, 3, side, side))


def decoder_pixels(
    image: Pixels, size: int, *, mode: Mode, stretched: bool = False
) -> tuple[Pixels, tuple[int, int]]:
    """uint8 [3, h, w], and the (height, width) at which the mask decoder sees the picture; the model pads it to its square.

    image: uint8 [H, W, 3], RGB. The long side becomes `size` (bilinear), halves are rounded up (SAM's ResizeLongestSide).
    stretched: both sides do, as SAM-2 has it.
    In `fast` a picture that has to be enlarged is left to the model, on its device: moving bytes is what costs here.
    """
    scale = size / max(image.shape[:2])
    # SAM itself makes 0 of a side that is 2048 times shorter than the other, and fails.
    height, width = (size if stretched else max(1, int(side * scale + 0.5)) for side in image.shape[:2])
    if mode == "fast" and scale >= 1:
        return planes(image), (height, width)
    return np.ascontiguousarray(_resize(image, (height, width), "bilinear", mode)), (height, width)


def planes(image: Pixels) -> Pixels:
    """uint8 [H, W, 3] -> [3, H, W], a copy. OpenCV makes it on vector instructions, four times as fast as NumPy transposes."""
    found = np.empty((3, *image.shape[:2]), dtype=np.uint8)
    cv2.split(image, list(found))
    return found


def _middle(image: Pixels) -> Pixels:
    """A picture without its ends if it is longer than THINNEST times its width.

    No crop of its middle square sees them, and a line of 3000 pixels would be enlarged to 450 MB first.
    """
    long, short = max(image.shape[:2]), min(image.shape[:2])
    left = max(0, (long - THINNEST * short) // 2)
    ends = slice(left, long - left)
    return image[ends] if image.shape[0] == long else image[:, ends]


def _resize(image: Pixels, size: tuple[int, int], how: Filter, mode: Mode) -> Pixels:
    """uint8 [3, *size]"""
    import torch
    from torch.nn.functional import interpolate

    if image.shape[:2] == size:
        return planes(image)
    is_enlarged = size[0] >= image.shape[0] and size[1] >= image.shape[1]
    if mode == "peer" or is_enlarged:  # a small picture: Pillow costs little, PyTorch is off by two levels
        # The widths first, as Pillow 12 has it. 13 takes the cheaper order, and by what is rounded in between edges differ by ten
        # levels: the same picture would be another one to the model.
        picture = Image.fromarray(image).resize((size[1], image.shape[0]), PILLOW[how])
        return planes(np.asarray(picture.resize((size[1], size[0]), PILLOW[how])))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return interpolate(pixels, size=size, mode=how, antialias=True, align_corners=False)[0].numpy()
