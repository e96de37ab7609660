"""How the readers of the field turn polygons into pixels."""

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from seglm.dataset.toy.scenes import Mask


def filled(polygons: list[list[float]], mask: Mask) -> Mask:
    return coco_mask.decode(coco_mask.frPyObjects(polygons, *mask.shape)).any(axis=2)


def painted(shapes: list[dict], size: tuple[int, int]) -> np.ndarray:
    """LISA's rule: largest first, "ignore" is 255, border drawn and filled."""
    layers = []
    for shape in shapes:
        points = np.array([shape["points"]], dtype=np.int32)
        layer = np.zeros(size, dtype=np.uint8)
        cv2.polylines(layer, points, True, 1, 1)
        cv2.fillPoly(layer, points, 1)
        layers.append((int(layer.sum()), 255 if "ignore" in shape["label"] else 1, layer > 0))
    label = np.zeros(size, dtype=np.uint8)
    for _, value, layer in sorted(layers, key=lambda item: -item[0]):
        label[layer] = value
    return label
