"""J and F in the order of work of davis2017-evaluation, against which ours are timed and to which they have to be equal.

What it repeats of the original (davis2017/metrics.py at ac7c43f): J goes over all frames of an object at once, with a mask
of void pixels that is made even where there are none; F goes over whole frames, one by one: both masks times what is not
void, three shifted copies of each, two dilations with a disk of OpenCV, products of the maps, and their sums.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
NEAR = 0.008


def regions(
    truth: NDArray[np.generic], shown: NDArray[np.generic], void: Mask | None = None
) -> NDArray[np.float64]:
    """J of each frame, float64 [T]. truth, shown, void: [T, H, W], whatever is not 0 is the object."""
    truth, shown = truth.astype(bool), shown.astype(bool)
    counted = ~(np.zeros_like(shown) if void is None else void.astype(bool))
    intersection = np.sum(truth & shown & counted, axis=(-2, -1))
    union = np.sum((truth | shown) & counted, axis=(-2, -1))
    with np.errstate(invalid="ignore"):
        ratios: NDArray[np.float64] = intersection / union
    ratios[np.isclose(union, 0)] = 1
    return ratios


def contours(
    truth: NDArray[np.generic], shown: NDArray[np.generic], void: Mask | None = None, near: float = NEAR
) -> float:
    """F of one frame. truth, shown, void: [H, W]. near: of the diagonal, or pixels from 1 on."""
    counted = ~(np.zeros_like(shown).astype(bool) if void is None else void.astype(bool))
    radius = int(near if near >= 1 else np.ceil(near * np.linalg.norm(shown.shape)))
    lines = [contour(mask * counted) for mask in (shown, truth)]
    reach = np.arange(-radius, radius + 1)
    disk = (reach[:, None] ** 2 + reach**2 <= radius**2).astype(np.uint8)
    grown = [cv2.dilate(line.astype(np.uint8), disk) for line in lines]
    hits = [np.sum(lines[0] * grown[1]), np.sum(lines[1] * grown[0])]
    sizes = [np.sum(line) for line in lines]
    if sizes[0] == 0 or sizes[1] == 0:
        return float(sizes[0] == sizes[1])
    precision, recall = (hit / float(size) for hit, size in zip(hits, sizes, strict=True))
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def contour(mask: NDArray[np.generic]) -> Mask:
    """bool [H, W]: where a mask's pixel differs from its neighbour to the east, south or south-east."""
    here = mask.astype(bool)
    east, south, both = (np.zeros_like(here) for _ in range(3))
    east[:, :-1], south[:-1], both[:-1, :-1] = here[:, 1:], here[1:], here[1:, 1:]
    line: Mask = here ^ east | here ^ south | here ^ both
    line[-1], line[:, -1] = here[-1] ^ east[-1], here[:, -1] ^ south[:, -1]
    line[-1, -1] = False
    return line
