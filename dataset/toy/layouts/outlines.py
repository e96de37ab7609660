"""Masks as the data sets store them: polygons that give back the very same pixels, and run lengths.

Polygons cannot have holes, so a mask is first cut into pieces without any; the readers take the union.
"""

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.dataset.toy.scenes import Mask, Scene, visible_masks

THINGS_AT_HAND = 1 << 14  # whose polygons are kept: five data sets have the same pictures


@lru_cache(THINGS_AT_HAND)
def thing_polygons(scene: Scene, i: int) -> list[list[float]]:
    """`edge_polygons` of what is seen of thing `i`; the list is shared by all who ask for it."""
    return edge_polygons(visible_masks(scene)[i])


def edge_polygons(mask: Mask) -> list[list[float]]:
    """COCO polygons [x0, y0, x1, y1, ...] along the pixels' edges; the COCO API fills exactly `mask`, bool [H, W], not empty."""
    cropped, corner = _cropped(mask)
    return [(_corners(piece) + corner).astype(float).ravel().tolist() for piece in _pieces(cropped)]


def pixel_polygons(mask: Mask) -> list[list[list[float]]]:
    """Polygons [[x, y], ...] through the centres of border pixels; filled with their border drawn they are exactly `mask`."""
    polygons = []
    cropped, corner = _cropped(mask)
    for piece in _pieces(cropped):
        contour = _contours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0][0]
        points = (contour + corner).astype(float).tolist()
        missing = 3 - len(points)  # readers may refuse a polygon of 1 or 2 points
        polygons.append(points + points[-1:] * missing)
    return polygons


def plain_run_lengths(mask: Mask) -> dict[str, object]:
    """COCO's uncompressed run lengths: counts of 0s, 1s, 0s, ... down the columns."""
    flat = np.concatenate([[0], mask.flatten(order="F").astype(np.int8), [0]])
    turns = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], turns, [mask.size]]))
    kept = counts[:-1] if counts[-1] == 0 else counts
    return {"size": list(mask.shape), "counts": [int(count) for count in kept]}


def box_of(mask: Mask) -> list[float]:
    """[x, y, width, height] of a mask that is not empty, pixels."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return [float(x), float(y), float(width), float(height)]


def _cropped(mask: Mask) -> tuple[Mask, NDArray[np.int32]]:
    """The part of a mask inside its box, and the (x, y) of that part's corner: outlines cost what the thing is large."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return mask[y : y + height, x : x + width], np.array([x, y], dtype=np.int32)


def _pieces(mask: Mask) -> Iterator[Mask]:
    """The mask in 4-connected pieces without holes; a piece with a hole is cut through it from top to bottom."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
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
    contours, tree = cv2.findContours(mask.view(np.uint8), mode, chain)
    return [np.asarray(contour[:, 0], dtype=np.int32) for contour in contours], np.asarray(
        tree[0], dtype=np.int32
    )


def _corners(piece: Mask) -> NDArray[np.int32]:
    """Corners int32 [P, 2] (x, y) of the staircase along the edges of a piece's pixels.

    The contour of the picture doubled in size runs through the sub-pixels 2p and 2p + 1 of each pixel p: these lie at the
    edges p and p + 1.
    """
    height, width = piece.shape
    doubled = np.zeros((2 * height + 2, 2 * width + 2), dtype=bool)
    doubled[1:-1, 1:-1] = piece.repeat(2, axis=0).repeat(2, axis=1)
    edge = _contours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0] // 2
    moves = np.diff(edge, axis=0) != 0
    edge, moves = edge[np.append(True, moves.any(axis=1))], moves[moves.any(axis=1)]
    # A point between two steps along the same line is no corner.
    turns = (moves[1:] != moves[:-1]).any(axis=1)
    return np.asarray(edge[np.concatenate([[True], turns, [True]])])
