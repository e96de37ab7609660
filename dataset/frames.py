"""Pictures and label maps from disk, as arrays; a file that cannot be read is a Fault that names the sample."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from seglm.dataset.faults import fault

Pixels = NDArray[np.uint8]

ORIENTATION = 0x0112  # EXIF tag
TURNED = (5, 6, 7, 8)  # its values that swap height and width
END_OF_JPEG = b"\xff\xd9"
PNG_GREY_8 = b"\x08\x00"  # bit depth and colour type, bytes 24 and 25 of the file


def read_bytes(path: Path, key: str) -> bytes:
    """The file's content. Raises Fault if it is not there or empty."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise fault(key, path, f"cannot be read: {error.strerror}") from error
    if not content:
        raise fault(key, path, "the file is empty")
    return content


def read_frame(path: Path, key: str, size: tuple[int, int] | None = None) -> Pixels:
    """uint8 [H, W, 3], RGB.

    The EXIF orientation is applied, as cv2.imread does in the original, unless only the stored orientation has the size that the
    annotations speak of.
    Raises Fault if the file is missing, cut short or no image, or is not of `size` (H, W).
    """
    content = read_bytes(path, key)
    if content[:2] == b"\xff\xd8" and content.rfind(END_OF_JPEG, len(content) // 2) < 0:
        raise fault(key, path, "the JPEG is cut short: it has no end marker")
    frame = _decode(content, path, key, cv2.IMREAD_COLOR_RGB)
    if size is not None and frame.shape[:2] != size:
        stored = _decode(content, path, key, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if stored.shape[:2] != size:
            raise fault(
                key,
                path,
                f"the image is {_size(frame)}, its annotations are for {size[0]} x {size[1]} (H x W)",
            )
        return stored
    return frame


def frame_size(path: Path, key: str) -> tuple[int, int]:
    """(H, W) from the file's head, EXIF orientation applied; nothing is decoded."""
    try:
        with Image.open(path) as image:
            turned = image.format == "JPEG" and image.getexif().get(ORIENTATION) in TURNED
            return (image.width, image.height) if turned else (image.height, image.width)
    except UnidentifiedImageError as error:
        raise fault(key, path, "is no image") from error
    except OSError as error:
        raise fault(key, path, f"cannot be read: {error.strerror or error}") from error


def read_labels(path: Path, key: str) -> Pixels:
    """uint8 [H, W]: the numbers of a label PNG, palette indices where it has a palette.

    Raises Fault if it is missing, broken or has more than one channel of 8 bits.
    """
    content = read_bytes(path, key)
    if content[24:26] == PNG_GREY_8:
        return _decode(content, path, key, cv2.IMREAD_UNCHANGED)
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1"):
                raise fault(
                    key,
                    path,
                    f"label map of mode {image.mode}, permitted are L and P (8 bits); is this another release of the set?",
                )
            return np.asarray(image, dtype=np.uint8)
    except (OSError, SyntaxError) as error:  # PIL raises SyntaxError for a broken PNG
        raise fault(key, path, f"is no readable label map: {error}") from error


def _decode(content: bytes, path: Path, key: str, flags: int) -> Pixels:
    decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags)
    if decoded is None:
        raise fault(key, path, "is no readable image")
    return np.asarray(decoded, dtype=np.uint8)


def _size(frame: Pixels) -> str:
    return f"{frame.shape[0]} x {frame.shape[1]}"
