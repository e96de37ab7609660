"""A mask in a PNG, in whatever form annotation tools write one: one rule from the stored numbers to the object's pixels.

Background is 0, black or transparent; the object is one other value, the same in all colour channels: 1, 255 or the largest of
the depth. Of a palette, numbers 0 (black) and 1 count, or black and white colours. What could be read in two ways is refused.
Where the numbers themselves are meant, as objects or as anything but 0, `stored_numbers` gives them.
Letters: H W pixels, C colour channels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seglm.utils.png import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    START,
    as_stored,
    depth_and_kind,
)

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int32]

CHANNELS = {GREY: "grey", RGB: "RGB", PALETTE: "palette", GREY_ALPHA: "grey+alpha", RGBA: "RGBA"}
"""by colour type"""
ORIENTATION, UPRIGHT = 0x0112, 1  # EXIF tag, and its value for a picture that is shown as it is stored
BYTE = 8  # bits
SHOWN = 6  # values of a refused mask that are named
RULE = "a mask holds 0 for the background and 1, 255 or the largest value for the object; save 0 and 255 as an 8-bit grey PNG"


@dataclass(frozen=True)
class _Stored:
    """What a PNG holds, nothing of it interpreted."""

    numbers: Numbers
    """[H, W, C]; [H, W, 1] for a palette"""
    alpha: Numbers
    """[H, W], 0 to `full`"""
    full: int
    depth: int
    colours: Numbers | None
    """a palette, [number, RGB]"""


def decode_mask(content: bytes, *, size: tuple[int, int] | None = None) -> Mask:
    """The object's pixels, bool [H, W].

    size: (H, W) that the mask must have, original pixels; None takes any.
    Raises ValueError, whose text goes on where the file's name stands: it is no whole PNG, of another size (nothing is decoded
    then), or may be read in two ways (depth, channels and values are told).
    """
    with _whole(content) as image:
        found = (image.height, image.width)
        stored = _stored(content, image) if size in (None, found) else None
    if stored is None:
        raise ValueError(f"is a mask of {found} for a picture of {size}; masks are scored at original size")
    with _kind_told(content, RULE):
        return _of_palette(stored) if stored.colours is not None else _of_values(stored, stored.numbers)


def stored_numbers(content: bytes, *, of_objects: bool) -> NDArray[np.uint8]:
    """uint8 [H, W]: the numbers of a grey PNG or a palette as they are stored, and 0 where it is transparent.

    of_objects: whether they tell objects apart; if not, what is not 0 is one mask, and the brightest channel stands for a colour.
    Raises ValueError as `decode_mask` does, for 16 bits, and for colours where objects are told apart.
    """
    with _whole(content) as image:
        depth, kind = depth_and_kind(content)
        stored = None
        if depth <= BYTE and (kind == PALETTE or (kind == GREY and "transparency" not in image.info)):
            plain: NDArray[np.uint8] = as_stored(np.asarray(image, dtype=np.uint8), content)
        else:
            stored = _stored(content, image)
    if stored is None:
        return plain
    with _kind_told(content, "save the numbers as an 8-bit grey PNG, or with a palette"):
        if depth > BYTE:
            raise ValueError(f"with the values {_named(np.unique(stored.numbers).tolist())}")
        value = stored.numbers.max(axis=-1) if not of_objects else _one_channel(stored.numbers)
        return np.where(_opaque(stored, value), value, 0).astype(np.uint8)


@contextmanager
def _whole(content: bytes) -> Iterator[Image.Image]:
    """The picture, not decoded yet. Raises ValueError for what is no whole PNG, be it found inside, and for a doubtful one."""
    if not content:
        raise ValueError("is empty (0 bytes); write it again")
    if content[: len(START)] != START:
        raise ValueError(f"is no PNG, it begins with {content[:4]!r}; {RULE}")
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.verify()  # the check sums of all chunks; the picture has to be opened again then
        with Image.open(io.BytesIO(content)) as image:
            doubt = _doubt(image)
            yield image
    except Exception as error:
        # Pillow repeats the object it was given, which says nothing to a person
        told = " ".join(str(error).split()).partition(" <_io")[0]
        raise ValueError(
            f"is damaged or cut short ({told or type(error).__name__}); write it again"
        ) from error
    if doubt:
        raise ValueError(doubt)


@contextmanager
def _kind_told(content: bytes, rule: str) -> Iterator[None]:
    """Puts depth and channels before what is wrong with a whole PNG, and the rule behind it."""
    try:
        yield
    except ValueError as error:
        depth, kind = depth_and_kind(content)
        raise ValueError(f"is a {depth}-bit {CHANNELS[kind]} PNG {error}; {rule}") from None


def _doubt(image: Image.Image) -> str:
    """Why a whole PNG may be read in two ways, whatever its numbers; empty if it may not."""
    if (pictures := getattr(image, "n_frames", 1)) > 1:
        return f"holds {pictures} pictures; a mask is one: save it without animation"
    if (turn := image.getexif().get(ORIENTATION, UPRIGHT)) != UPRIGHT:
        return f"is turned by an EXIF tag (orientation {turn}); save it as it is shown, without the tag"
    return ""


def _stored(content: bytes, image: Image.Image) -> _Stored:
    depth, kind = depth_and_kind(content)
    image.load()
    clear = image.info.get("transparency")  # of a palette bytes or a number, else one value or colour
    full = 255 if kind == PALETTE else 2**depth - 1
    if depth == 16 and kind != GREY:  # Pillow keeps the upper 8 bits of these
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None:
            raise ValueError("OpenCV cannot decode it")
        array = decoded.astype(np.int32)
    else:
        array = np.array(image, dtype=np.int32)
    numbers = array[..., None] if array.ndim == 2 else array
    numbers = as_stored(numbers, content)
    alpha, colours = np.full(numbers.shape[:2], full, dtype=np.int32), None
    if kind == PALETTE:
        colours = np.array(image.getpalette("RGB"), dtype=np.int32).reshape(-1, 3)
        alphas = np.full(len(colours), full, dtype=np.int32)
        if isinstance(clear, bytes):
            alphas[: len(clear)] = np.frombuffer(clear[: len(alphas)], np.uint8)
        elif clear is not None:
            alphas[clear] = 0
        alpha = alphas[numbers[..., 0]]
    elif kind in (GREY_ALPHA, RGBA):
        numbers, alpha = numbers[..., :-1], numbers[..., -1]
    elif clear is not None:
        numbers = numbers[..., : 1 if kind == GREY else 3]
        alpha = np.where((numbers == np.asarray(clear)).all(-1), 0, full).astype(np.int32)
    return _Stored(numbers, alpha, full, depth, colours)


def _of_palette(stored: _Stored) -> Mask:
    """By the colours if they are black and white, by the numbers if they are 0 and 1 and 0 is black; both must agree."""
    assert stored.colours is not None
    numbers = stored.numbers[..., 0]
    used = np.unique(numbers)
    shown = stored.colours[used]
    found = []
    if (shown == shown[:, :1]).all() and set(shown[:, 0].tolist()) <= {0, 255}:
        found.append(_of_values(stored, stored.colours[numbers]))
    if used.max() <= 1 and (not stored.colours[0].any() or found):
        found.append(_of_values(stored, stored.numbers))
    if not found or any((found[0] != other).any() for other in found):
        told = ", ".join(
            f"{number} {tuple(colour)}" for number, colour in zip(used[:SHOWN], shown.tolist(), strict=False)
        )
        raise ValueError(f"with the numbers and colours {told}")
    return found[0]


def _of_values(stored: _Stored, numbers: Numbers) -> Mask:
    """By the value that is not 0, and by what is transparent. numbers: [H, W, C], as stored or a palette's colours."""
    value = _one_channel(numbers)
    opaque = _opaque(stored, value)
    shown = np.unique(value[opaque]).tolist()
    highest = max(shown, default=0)
    if not set(shown) <= {0, highest} or highest not in {0, 1, 255, 2**stored.depth - 1}:
        raise ValueError(f"with the values {_named(shown)}")
    mask: Mask = opaque & (value > 0)
    return mask


def _one_channel(numbers: Numbers) -> Numbers:
    """[H, W] of [H, W, C]. Raises ValueError if the channels differ."""
    value: Numbers = numbers[..., 0]
    if (numbers != value[..., None]).any():
        colours = np.unique(numbers.reshape(-1, numbers.shape[-1]), axis=0)
        raise ValueError(f"with the colours {_named(list(map(tuple, colours.tolist())))}")
    return value


def _opaque(stored: _Stored, value: Numbers) -> Mask:
    """Which pixels are seen, [H, W]. Raises ValueError if the object may be what is not."""
    opaque: Mask = stored.alpha == stored.full
    if (~opaque & (stored.alpha != 0)).any():
        raise ValueError(f"that is half transparent, alpha {_named(np.unique(stored.alpha).tolist())}")
    shown = value[opaque]
    if not opaque.all() and (not shown.any() or (not shown.all() and value[~opaque].any())):
        raise ValueError("whose object may be what is transparent or what is not")
    return opaque


def _named(values: list[object]) -> str:
    return ", ".join(str(value) for value in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
