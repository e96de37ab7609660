"""Pictures and label maps from disk, as arrays; a file that cannot be read is a Fault that names the sample.

One rule of orientation for size and pixels, whatever the format and the version of OpenCV: the EXIF tag as it is read here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from seglm.dataset.faults import blamed, fault
from seglm.utils import png
from seglm.utils.containers import HEAD, begins_as, flaw
from seglm.utils.regular import refuse_endless

Pixels = NDArray[np.uint8]
Turn = Callable[[Pixels], Pixels]

ORIENTATION = 0x0112  # EXIF tag
BYTE_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II*\x00": "little", b"MM\x00*": "big"}
TURNED = (5, 6, 7, 8)  # its values that swap height and width
# EXIF 2.3, 4.6.4: where the stored first row and column are in what is shown.
TURNS: dict[int, Turn] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}
BY_OPENCV = ("JPEG", "MPO", "PNG", "WEBP")  # others are rare, and OpenCV turns a TIFF unasked
EIGHT_BITS = (
    "1",
    "L",
    "LA",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
)  # Pillow's modes that are RGB as they look
AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
START_OF_JPEG, END_OF_JPEG, EXIF = b"\xff\xd8", b"\xff\xd9", b"Exif\x00\x00"
MOST_PIXELS = 178_956_970  # Pillow's limit: 0.5 GB of RGB; more is refused before anything is decoded
SMALL_JPEG = MOST_PIXELS // 64 // 8  # bytes; each block of 64 pixels takes a bit at least


def read_bytes(path: Path, key: str) -> bytes:
    """The file's content. Raises Fault if it is not there, no file, empty, or what a download leaves in its place."""
    with blamed(key, path):
        refuse_endless(path)
        content = path.read_bytes()
    if not content:
        raise fault(key, path, "the file is empty")
    if what := begins_as(content[:HEAD]):
        raise fault(key, path, f"the file is {what}; fetch it again")
    return content


def read_frame(
    path: Path | str, key: str, size: tuple[int, int] | None = None, *, whose: str = "its annotations are for"
) -> Pixels:
    """uint8 [H, W, 3], RGB.

    The EXIF orientation is applied, as cv2.imread does in the original, unless only the stored orientation has the size that the
    annotations speak of.
    whose: what is of `size`, for the message.
    Raises Fault if the file is missing, cut short or no image, has more than MOST_PIXELS, or is not of `size` (H, W).
    """
    path = Path(path)
    content = read_bytes(path, key)
    is_jpeg = content[:2] == START_OF_JPEG
    if is_jpeg and content.rfind(END_OF_JPEG, len(content) // 2) < 0:
        raise fault(key, path, "the JPEG is cut short: it has no end marker")
    if is_jpeg and len(content) < SMALL_JPEG and EXIF not in content:
        stored, turn = (
            _decode(content, path, key, AS_STORED),
            None,
        )  # nearly all pictures: no head has to be read
    else:
        stored, turn = _decode_any(content, path, key)
    frame = stored if turn is None else np.ascontiguousarray(turn(stored))
    if size is None or frame.shape[:2] == size:
        return frame
    if stored.shape[:2] == size:
        return stored
    told = f"the image is {_size(frame)}, {whose} {size[0]} x {size[1]} (H x W)"
    raise fault(key, path, told)


def frame_size(path: Path | str, key: str) -> tuple[int, int]:
    """(H, W) from the file's head, EXIF orientation applied; nothing is decoded."""
    path = Path(path)
    with _head(path, path, key) as image:
        is_turned = _orientation(image) in TURNED
        return (image.width, image.height) if is_turned else (image.height, image.width)


def read_labels(path: Path | str, key: str, size: tuple[int, int] | None = None) -> Pixels:
    """uint8 [H, W]: the numbers of a label PNG as they are stored, palette indices where it has a palette.

    Raises Fault if it is missing, broken, no PNG, has more than one channel of 8 bits, or is not of `size` (H, W).
    """
    path = Path(path)
    numbers = _stored_labels(path, key)
    if size is not None and numbers.shape[:2] != size:
        raise fault(key, path, f"the mask is {_size(numbers)}, its picture is {size[0]} x {size[1]} (H x W)")
    return numbers


def _stored_labels(path: Path, key: str) -> Pixels:
    content = read_bytes(path, key)
    is_plain = content[: len(png.START)] == png.START and content[24:26] == png.GREY_8
    if (
        is_plain
        and int.from_bytes(content[16:20], "big") * int.from_bytes(content[20:24], "big") <= MOST_PIXELS
    ):
        return _decode(content, path, key, cv2.IMREAD_UNCHANGED)
    with _head(io.BytesIO(content), path, key) as image:
        if image.format != "PNG":
            raise fault(
                key, path, f"a label map in {image.format}; permitted is PNG, which changes no number"
            )
        if image.mode not in ("P", "L", "1"):
            raise fault(
                key,
                path,
                f"label map of mode {image.mode}, permitted are L and P (8 bits); is this another release of the set?",
            )
        numbers: Pixels = png.as_stored(np.array(image, dtype=np.uint8), content)
        return numbers


def _decode_any(content: bytes, path: Path, key: str) -> tuple[Pixels, Turn | None]:
    """uint8 [H, W, 3], RGB, as it is stored, and how it is turned. Raises Fault."""
    with _head(io.BytesIO(content), path, key) as image:
        if image.format in BY_OPENCV:
            stored = _decode(content, path, key, AS_STORED)
        elif image.mode in EIGHT_BITS:
            stored = np.array(image.convert("RGB"))
        else:
            told = f"a {image.format} of mode {image.mode}; permitted are 8 bits a channel: save it as PNG"
            raise fault(key, path, told)
        return stored, TURNS.get(_orientation(image))


@contextmanager
def _head(source: Path | io.BytesIO, path: Path, key: str) -> Iterator[Image.Image]:
    """The picture, opened and not decoded. Raises Fault if it is none or too large, and for whatever goes wrong inside."""
    with blamed(key, path, "is no readable image"):
        try:
            refuse_endless(path)
            image = Image.open(source)
        except Image.DecompressionBombError as error:
            raise fault(key, path, f"a picture of more than {MOST_PIXELS} pixels; make it smaller") from error
        except UnidentifiedImageError as error:
            what = flaw(path)
            raise fault(
                key, path, f"the file is {what}; fetch it again" if what else "is no readable image"
            ) from error
        with image:
            yield image


def _orientation(image: Image.Image) -> int:
    """How to turn what is stored, 1 to 8, by its EXIF; 1 where there is none, or none that can be read.

    Not Pillow's getexif: of a PNG without the tag that decodes all pixels, and a damaged tag of a photograph makes it warn.
    """
    if image.format == "TIFF":
        return 1  # Pillow turns it itself, size and pixels
    exif = image.info.get("exif", b"")
    if image.format == "PNG" and not exif:  # its chunk may stand behind the pixels
        file: BinaryIO = image.fp  # type: ignore[attr-defined]
        file.seek(0)
        exif = file.read().rpartition(b"eXIf")[2]
    body = exif.removeprefix(EXIF)
    order = BYTE_ORDERS.get(body[:4])
    if order is None:
        return 1
    first = int.from_bytes(body[4:8], order) + 2
    for entry in range(
        first, min(first + 12 * int.from_bytes(body[first - 2 : first], order), len(body)), 12
    ):
        if int.from_bytes(body[entry : entry + 2], order) == ORIENTATION:
            return int.from_bytes(body[entry + 8 : entry + 10], order)
    return 1


def _decode(content: bytes, path: Path, key: str, flags: int) -> Pixels:
    # What OpenCV would print of a broken picture names no file; the error does.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if decoded is None:
        raise fault(key, path, "is no readable image")
    return np.asarray(decoded, dtype=np.uint8)


def _size(frame: Pixels) -> str:
    return f"{frame.shape[0]} x {frame.shape[1]}"
