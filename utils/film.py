"""Pictures one after the other as a film that players open: mp4 with h264 in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from seglm.utils.atomic import NEW

Picture = NDArray[np.uint8]
"""uint8 [H, W, 3], RGB"""
CODECS = ("libx264", "mpeg4")
"""the first that this PyAV has; browsers play the first only"""
QUALITY = {"libx264": {"crf": "18"}, "mpeg4": {"qscale": "3"}}
RATE = 10.0  # frames a second, where nobody says


@contextmanager
def film(
    path: Path, *, rate: float | None = None, is_repeatable: bool = False
) -> Iterator[Callable[[Picture], None]]:
    """Inside, each picture that the function is called with becomes the next frame of an mp4 (h264, yuv420p); it streams.

    rate: frames a second; None takes RATE. is_repeatable: the same pictures give the same bytes, by one thread and without
    version strings. Pictures are uint8 [H, W, 3], RGB, all of one size.
    The file is there whole or not at all. Raises ValueError if no picture was given.
    """
    import av  # FFmpeg is large, and few need it

    codec = next(name for name in CODECS if name in av.codecs_available)
    how = {**QUALITY[codec], "threads": "1"} if is_repeatable else QUALITY[codec]
    options = {"fflags": "+bitexact"} if is_repeatable else {"movflags": "faststart"}
    fresh = path.with_name(path.name + NEW)
    try:
        with av.open(str(fresh), "w", format="mp4", options=options) as container:
            speed = Fraction(rate or RATE).limit_denominator(1000)
            stream = cast(av.VideoStream, container.add_stream(codec, rate=speed, options=how))
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


def _even(picture: Picture) -> Picture:
    """With an even number of rows and columns, as yuv420p needs it: the last ones are doubled."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
