"""Masks as the data sets store them: polygons that give back the very same pixels, and run lengths.

Polygons cannot have holes, so a mask is first cut into pieces without any; the readers take the union.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from seglm.dataset.toy.scenes import Mask


def edge_polygons(mask: Mask) -> list[list[float]]:
    """COCO polygons [x0, y0, x1, y1, ...] along the pixels' edges; the COCO API fills exactly `mask`, bool [H, W]."""
    return [[float(value) for corner in _corners(piece) for value in corner] for piece in _pieces(mask)]


def pixel_polygons(mask: Mask) -> list[list[list[float]]]:
    """Polygons [[x, y], ...] through the centres of border pixels; filled with their border drawn they are exactly `mask`."""
    polygons = []
    for piece in _pieces(mask):
        points = _contours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0][0].astype(float).tolist()
        missing = 3 - len(points)  # readers may refuse a polygon of 1 or 2 points
        polygons.append(points + points[-1:] * missing)
    return polygons


def run_lengths(mask: Mask) -> dict[str, object]:
    """COCO's compressed run lengths with text counts."""
    coded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in coded["size"]], "counts": coded["counts"].decode("ascii")}


def plain_run_lengths(mask: Mask) -> dict[str, object]:
    """COCO's uncompressed run lengths: counts of 0s, 1s, 0s, ... down the columns."""
    flat = np.concatenate([[0], mask.flatten(order="F").astype(np.int8), [0]])
    turns = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], turns, [mask.size]]))
    kept = counts[:-1] if counts[-1] == 0 else counts
    return {"size": list(mask.shape), "counts": [int(count) for count in kept]}


def box_of(mask: Mask) -> list[float]:
    """[x, y, width, height] of a mask that is not empty, pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [float(v) for v in (columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])]


def _pieces(mask: Mask) -> Iterator[Mask]:
    """The mask in 4-connected pieces without holes; a piece with a hole is cut through it from top to bottom."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    for label in range(1, count):
        piece = labels == label
        contours, tree = _contours(piece, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        holes = [contour for contour, links in zip(contours, tree, strict=True) if links[3] >= 0]
        if not holes:
            yield piece
            continue
        x, _, width, _ = cv2.boundingRect(holes[0])
        middle = x + width // 2
        for columns in (slice(0, middle), slice(middle, None)):
            side = np.zeros_like(piece)
            side[:, columns] = piece[:, columns]
            yield from _pieces(side)


def _contours(mask: Mask, mode: int, chain: int) -> tuple[list[NDArray[np.int32]], NDArray[np.int32]]:
    """Contours int32 [P, 2] of (x, y) and their tree int32 [contours, 4]; the last link is the parent."""
    contours, tree = cv2.findContours(mask.astype(np.uint8), mode, chain)
    return [np.asarray(contour[:, 0], dtype=np.int32) for contour in contours], np.asarray(
        tree[0], dtype=np.int32
    )


def _corners(piece: Mask) -> list[tuple[int, int]]:
    """Corners (x, y) of the staircase along the edges of a piece's pixels.

    The contour of the picture doubled in size runs through the sub-pixels 2p and 2p + 1 of each pixel p: these lie at the
    edges p and p + 1.
    """
    doubled = np.pad(piece.repeat(2, axis=0).repeat(2, axis=1), 1)
    contour = _contours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0] - 1
    corners: list[tuple[int, int]] = []
    for x, y in ((contour + 1) // 2).tolist():
        if corners and corners[-1] == (x, y):
            continue
        if len(corners) >= 2 and (
            corners[-1][0] == corners[-2][0] == x or corners[-1][1] == corners[-2][1] == y
        ):
            corners.pop()
        corners.append((x, y))
    return corners
