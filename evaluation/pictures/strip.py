"""Pictures of a video side by side, as a strip over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from seglm.evaluation.pictures.masks import Picture
from seglm.evaluation.pictures.text import FAINT, blank, write

STRIP, GAP, FOOT, MOST = (
    160,
    6,
    22,
    8,
)  # of a strip: height of a picture, space, words below; how many pictures


def strip(path: Path, pictures: Sequence[tuple[str, Picture]]) -> None:
    """Writes pictures side by side, each with its words below; at most MOST, see `spread`."""
    small = [(words, _of_height(picture, STRIP)) for words, picture in pictures]
    width = sum(picture.shape[1] for _, picture in small) + GAP * (len(small) + 1)
    paper, pen = blank(width, STRIP + FOOT + 2 * GAP)
    left = GAP
    for words, picture in small:
        paper.paste(Image.fromarray(picture), (left, GAP))
        write(pen, (left, GAP + STRIP + 4), words, width=picture.shape[1], size=11, colour=FAINT)
        left += picture.shape[1] + GAP
    paper.save(path, optimize=True)


def spread(count: int, most: int = MOST) -> list[int]:
    """At most so many of the numbers 0 to count - 1, evenly, with both ends."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def _of_height(picture: Picture, height: int) -> Picture:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    how = cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), dtype=np.uint8)
