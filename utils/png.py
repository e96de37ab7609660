"""What is told by the first bytes of a PNG (PNG specification, 11.2.1), and the numbers that it stores."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

START = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""colour types"""
GREY_8 = bytes((8, GREY))
"""bytes 24 and 25 of a grey one of 8 bits"""
GREY_STEPS = {2: 85, 4: 17}  # bits -> by what Pillow multiplies, so that the largest number is white


def depth_and_kind(content: bytes) -> tuple[int, int]:
    """(bits a channel, colour type) of a PNG whose head is whole."""
    return content[24], content[25]


def as_stored(numbers: Any, content: bytes) -> Any:
    """An array of Pillow's numbers as they are in the file: grey of 2 and 4 bits comes multiplied."""
    depth, kind = depth_and_kind(content)
    return numbers // GREY_STEPS.get(depth, 1) if kind == GREY else numbers


def of_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask, bool [H, W], as a PNG of 0 and 255, one bit a pixel. Raises OSError if that does not go."""
    return of_grey(mask.astype(np.uint8) * 255, cv2.IMWRITE_PNG_BILEVEL, 1)


def of_grey(grey: NDArray[np.uint8], *options: int) -> bytes:
    """uint8 [H, W] as a PNG, eight bits a pixel. options: OpenCV's. Raises OSError if that does not go."""
    done, data = cv2.imencode(".png", grey, options)
    if not done:
        raise OSError(f"an array of {grey.shape} could not be encoded as PNG")
    return data.tobytes()
