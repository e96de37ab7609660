"""J and F in the order of work of davis2017-evaluation, against which ours are timed and to which they have to be equal.

What it repeats of the original (davis2017/metrics.py at ac7c43f): J goes over all frames of an object at once, with a mask
of void pixels that is made even where there are none; F goes over whole frames, one by one: both masks times what is not
void, three shifted copies of each, two dilations with a disk of OpenCV, products of the maps, and their sums.

From PNGs (davis2017/davis.py, results.py and evaluation.py): all maps of a video are stacked in double precision, once for the
truth and once for the prediction; objects are taken apart by comparing all of them with numbers of the same shape and type.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mask = NDArray[np.bool_]
NEAR = 0.008
VOID = 255


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


def evaluate(truth: Path, shown: Path, names: Sequence[str]) -> list[tuple[float, float]]:
    """Semi-supervised: mean J and F of each object of one video, from folders of palette PNGs. names: of all frames."""
    maps = _stacked([truth / name for name in names])
    void = np.zeros_like(maps)
    for frame, numbers in enumerate(maps):
        void[frame] = numbers == VOID
        numbers[numbers == VOID] = 0
    objects = _apart(maps, int(maps[0].max()))[:, 1:-1]
    predicted = _stacked([shown / name for name in names[1:-1]])
    masks = _apart(predicted, int(predicted.max()))
    if len(masks) < len(objects):
        masks = np.concatenate([masks, np.zeros((len(objects) - len(masks), *masks.shape[1:]))])
    return [
        (
            float(np.mean(regions(one, other))),
            float(np.mean([contours(*frames) for frames in zip(one, other, strict=True)])),
        )
        for one, other in zip(objects, masks, strict=True)
    ]


def _stacked(paths: Sequence[Path]) -> NDArray[np.float64]:
    """float64 [T, H, W]: the numbers of each pixel."""
    maps = np.zeros((len(paths), *np.array(Image.open(paths[0])).shape))
    for frame, path in enumerate(paths):
        maps[frame] = np.array(Image.open(path))
    return maps


def _apart(maps: NDArray[np.float64], count: int) -> NDArray[np.generic]:
    """bool [objects, T, H, W]: the mask of each number from 1 to `count`."""
    wanted = np.ones((count, *maps.shape)) * np.arange(1, count + 1)[:, None, None, None]
    found: NDArray[np.generic] = wanted == maps[None]
    return found > 0
