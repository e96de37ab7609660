"""J and F of one frame: how well two masks agree as regions and along their contours.

Every frame is first turned into whole numbers (`FrameCounts`), from which J and F follow; they equal davis2017-evaluation's
to the last bit (db_eval_iou and f_measure of davis2017/metrics.py:6-178 of davisvideochallenge/davis2017-evaluation at
ac7c43f; the copies in MeViS, VISA, GLUS, VideoLISA, Sa2VA and ReferFormer compute the same).

  J   intersection / union of the masks, 1 where both are empty
  F   2 P R / (P + R); P is the share of the prediction's contour that lies near the target's, R the other way round. A pixel
      is on a contour if the pixel to its east, south or south-east is different; the last row and column have fewer
      neighbours, the last pixel none. Near is within a disk of ceil(0.008 x diagonal of the frame) pixels. 1 where neither
      mask has a contour, 0 where only one has: a mask that fills the frame has none, so against an empty mask its J is 0 and
      its F is 1.

Pixels to be ignored belong to neither mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.scores.packed import find

Mask = NDArray[np.bool_]
NEAR = 0.008  # of the frame's diagonal (bound_th of davis2017-evaluation)


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """One mask against another in one frame, in pixels; ignored pixels are in neither mask."""

    pixels: int
    """of the frame, height x width"""
    intersection: int
    predicted: int
    """of the predicted mask"""
    target: int
    """of the true mask"""
    predicted_contour: int
    target_contour: int
    predicted_near: int
    """of the predicted contour, those near the true one"""
    target_near: int
    """of the true contour, those near the predicted one"""

    @property
    def union(self) -> int:
        """Pixels of either mask."""
        return self.predicted + self.target - self.intersection

    @property
    def j(self) -> float:
        """Region similarity, 0 to 1."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def f(self) -> float:
        """Contour accuracy, 0 to 1."""
        if not self.predicted_contour or not self.target_contour:
            return float(self.predicted_contour == self.target_contour)
        precision = self.predicted_near / self.predicted_contour
        recall = self.target_near / self.target_contour
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@lru_cache(maxsize=64)
def tolerance(size: tuple[int, int], share: float = NEAR) -> int:
    """How far apart contours may lie, in pixels, in a frame of (H, W).

    share: of the diagonal; from 1 on it is the number of pixels itself.
    """
    return int(share) if share >= 1 else math.ceil(share * math.sqrt(size[0] ** 2 + size[1] ** 2))


def count_frame(
    prediction: Mask, target: Mask, *, ignore: Mask | None = None, radius: int | None = None
) -> FrameCounts:
    """Counts one frame.

    prediction, target, ignore: bool [H, W] of one shape. radius: pixels between contours that are near, 1 or more; None takes
    `tolerance` of the frame.
    Raises ValueError if shapes differ, a frame has no pixel, or a mask is not bool (a mask of 0 and 255 is `mask > 0`).
    """
    for name, mask in (("prediction", prediction), ("target", target), ("ignore", ignore)):
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != prediction.shape):
            raise ValueError(
                f"{name} is {mask.dtype} {mask.shape}; masks are bool and all of one shape, here {prediction.shape}"
            )
    if prediction.ndim != 2 or not prediction.size:
        raise ValueError(f"masks are {prediction.shape}; a frame is (H, W), one pixel or more")
    if ignore is not None:
        prediction, target = prediction & ~ignore, target & ~ignore
    if prediction.flags.f_contiguous and target.flags.f_contiguous:
        prediction, target = prediction.T, target.T  # as run lengths are decoded; all counts stay the same
    near = tolerance(prediction.shape) if radius is None else radius
    if near < 1:
        raise ValueError(f"radius {near}: contours are near at 1 pixel or more")
    found = find(np.ascontiguousarray(prediction), np.ascontiguousarray(target), near)
    return FrameCounts(prediction.size, found.intersection, *found.pixels, *found.contours, *found.near)
