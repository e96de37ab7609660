"""Pictures one after the other: as a film that players open, and as a strip over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image

from seglm.evaluation.pictures.masks import Picture
from seglm.evaluation.pictures.text import FAINT, blank, write
from seglm.utils.atomic import NEW

CODECS = ("libx264", "mpeg4")
"""the first that this PyAV has; browsers play the first only"""
QUALITY = {"libx264": {"crf": "18"}, "mpeg4": {"qscale": "3"}}
RATE = 10.0  # frames a second, where nobody says
STRIP, GAP, FOOT, MOST = (
    160,
    6,
    22,
    8,
)  # of a strip: height of a picture, space, words below; how many pictures


@contextmanager
def film(path: Path, *, rate: float | None = None) -> Iterator[Callable[[Picture], None]]:
    """Inside, each picture that the function is called with becomes the next frame of an mp4 (h264, yuv420p); it streams.

    rate: frames a second; None takes RATE. Pictures are uint8 [H, W, 3], RGB, all of one size.
    The file is there whole or not at all. Raises ValueError if no picture was given.
    """
    import av  # FFmpeg is large, and few need it

    codec = next(name for name in CODECS if name in av.codecs_available)
    fresh = path.with_name(path.name + NEW)
    try:
        with av.open(str(fresh), "w", format="mp4", options={"movflags": "faststart"}) as container:
            speed = Fraction(rate or RATE).limit_denominator(1000)
            stream = cast(av.VideoStream, container.add_stream(codec, rate=speed, options=QUALITY[codec]))
            stream.pix_fmt, stream.width = "yuv420p", 0

            def add(picture: Picture) -> None:
                even = _even(picture)
                if not stream.width:
                    stream.height, stream.width = even.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

            yield add
            if not stream.width:
                raise ValueError(f"{path}: a film of no picture")
            container.mux(stream.encode(None))
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


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


def _even(picture: Picture) -> Picture:
    """With an even number of rows and columns, as yuv420p needs it: the last ones are doubled."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _of_height(picture: Picture, height: int) -> Picture:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    how = cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), dtype=np.uint8)
