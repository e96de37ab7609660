"""Masks on a picture: the colours, and the overlay that chat writes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.pictures.text import Colour

Picture = NDArray[np.uint8]
"""uint8 [H, W, 3], RGB"""
Mask = NDArray[np.bool_]
PREDICTED: Colour = (213, 94, 0)
TRUE: Colour = (0, 114, 178)
IGNORED: Colour = (120, 120, 120)
MASK_COLOURS: tuple[Colour, ...] = (
    PREDICTED,
    TRUE,
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)
"""told apart by colour-blind people as well (Okabe and Ito)"""
OPACITY = 0.5


def overlay(picture: Picture, mask: Mask, colour: Colour) -> Picture:
    """The picture with a mask laid over it, half transparent and outlined.

    picture: uint8 [H, W, 3], RGB. mask: bool [H, W].
    """
    check_fit(mask, picture)
    result = picture.copy()
    result[mask] = mixed(picture[mask], colour, OPACITY)
    return outlined(result, mask, colour, max(1, round(min(picture.shape[:2]) / 200)))


def mixed(pixels: NDArray[np.generic], colour: Colour, share: float) -> Picture:
    """`share` of the colour and the rest of the pixels."""
    blend = (1 - share) * pixels.astype(np.float32) + share * np.array(colour, dtype=np.float32)
    return np.asarray(np.round(blend), dtype=np.uint8)


def outlined(picture: Picture, mask: Mask, colour: Colour, thickness: int) -> Picture:
    """The picture with the mask's outline, holes too."""
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = cv2.drawContours(picture.copy(), lines, -1, colour, thickness, cv2.LINE_AA)
    return np.asarray(drawn, dtype=np.uint8)


def check_fit(mask: Mask, picture: Picture) -> None:
    if mask.shape != picture.shape[:2]:
        raise ValueError(f"a mask of {mask.shape} does not lie on a picture of {picture.shape[:2]}")
