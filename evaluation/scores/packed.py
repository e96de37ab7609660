"""The contours of two masks and how near they lie, counted eight pixels a byte; exact, and many times faster than on whole masks.

Only a window round both masks is looked at. Its rows are cut into eight stripes of N rows, and a byte holds the pixels that
lie at one place of each stripe: row y is bit `y // N` of byte row `y % N`. So a step to a neighbour, along a row or down a
column, is a step in memory, with no bit to carry, and one pass over a few kilobytes moves the whole window.

  R C   rows and columns of the window        N   rows of bytes
  P     bytes of a row of one mask, its gap included: a step of up to `radius` out of a row falls into the gap
  Q     2 P: both masks lie side by side, the prediction left
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

STRIPES = 8
ALIGNED = 4  # bytes; two masks side by side are then whole words, which NumPy shifts much faster than bytes
SEARCHED = 1 << 15  # bytes that are looked at together in search of the last pixel
ROWS_AT_ONCE = 16  # of a column search: a call of NumPy costs as much as going through a row
DROP_LOW = (np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(1))
"""keeps what a shift of a word brings from the same byte, and by how many bits it is shifted"""


@dataclass(frozen=True)
class Window:
    """The part of a frame in which contours of either mask can lie, (y, x) in pixels of the frame, half-open."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Found:
    """What is counted of two masks; prediction first."""

    intersection: int
    pixels: tuple[int, int]
    contours: tuple[int, int]
    """pixels of each contour"""
    near: tuple[int, int]
    """of these, how many lie within the radius of the other contour"""


NOTHING = Found(0, (0, 0), (0, 0), (0, 0))


def find(prediction: Mask, target: Mask, radius: int) -> Found:
    """Counts two masks, bool [H, W], C-contiguous, of one size. radius: pixels, 1 or more."""
    window = _window(prediction, target)
    if window is None:
        return NOTHING
    height, width = prediction.shape
    rows, columns = window.bottom - window.top, window.right - window.left
    num = max(-(-(rows + 1) // STRIPES), radius)
    pitch = -(-(columns + 1 + radius) // ALIGNED) * ALIGNED
    bits = _pack((prediction, target), window, num, pitch)
    masks = _apart(bits[:num], pitch)
    intersection = _count(masks[0] & masks[1])
    pixels = (_count(masks[0]), _count(masks[1]))
    at_end = rows if window.bottom == height else None
    _extend(bits, num, pitch, columns if window.right == width else None, at_end)
    lines = _contours(bits, num, pitch, columns if window.right == width else None, at_end)
    each = _apart(lines, pitch)
    contours = (_count(each[0]), _count(each[1]))
    if not all(contours):
        return Found(intersection, pixels, contours, (0, 0))
    grown = _apart(_dilate(lines, radius), pitch)
    return Found(intersection, pixels, contours, (_count(each[0] & grown[1]), _count(each[1] & grown[0])))


def _window(first: Mask, second: Mask) -> Window | None:
    """The window round both; a contour lies up to one pixel above a mask and left of it. None if both are empty."""
    (first_top, first_bottom), (second_top, second_bottom) = _row_range(first), _row_range(second)
    top, bottom = min(first_top, second_top), max(first_bottom, second_bottom)
    if top >= bottom:
        return None
    columns = _columns(first[top:bottom]) | _columns(second[top:bottom])
    left, right = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
    return Window(max(top - 1, 0), bottom, max(left - 1, 0), right)


def _row_range(mask: Mask) -> tuple[int, int]:
    """The rows that hold pixels, half-open; (H, 0) if none does. Every byte is read once at most, from both ends inwards."""
    height, width = mask.shape
    flat = mask.reshape(-1)
    first = int(flat.argmax())
    if not flat[first]:
        return height, 0
    for stop in range(len(flat), 0, -SEARCHED):
        start = max(stop - SEARCHED, 0)
        last = flat[start:stop].tobytes().rfind(b"\1")
        if last >= 0:
            return first // width, (start + last) // width + 1
    raise AssertionError("a mask has a first pixel and no last one")


def _columns(mask: Mask) -> Mask:
    """bool [W]: which columns hold pixels."""
    rows, width = mask.shape
    whole = rows // ROWS_AT_ONCE
    found: Mask = np.bitwise_or.reduce(mask[whole * ROWS_AT_ONCE :], axis=0)
    if whole:
        groups = mask[: whole * ROWS_AT_ONCE].reshape(whole, ROWS_AT_ONCE * width)
        folded = np.bitwise_or.reduce(groups, axis=0).reshape(ROWS_AT_ONCE, width)
        found |= np.bitwise_or.reduce(folded, axis=0)
    return found


def _pack(masks: tuple[Mask, Mask], window: Window, num: int, pitch: int) -> Bytes:
    """uint8 [8 N, Q], of which the first N rows are the bytes; what follows is room, at least 2 rows of it."""
    rows, columns = window.bottom - window.top, window.right - window.left
    room = np.zeros((STRIPES * num, 2 * pitch), dtype=np.uint8)
    for number, mask in enumerate(masks):
        part = mask[window.top : window.bottom, window.left : window.right]
        room[:rows, number * pitch : number * pitch + columns] = part
    words = room.reshape(-1).view(np.uint64)
    for stripes in (4, 2, 1):
        half = len(words) * stripes // STRIPES
        low, high = words[:half], words[half : 2 * half]
        np.left_shift(high, np.uint64(stripes), out=high)
        np.bitwise_or(low, high, out=low)
    return room


def _extend(bits: Bytes, num: int, pitch: int, column: int | None, row: int | None) -> None:
    """Repeats the last column and row at the frame's end, where a pixel has no neighbour to differ from; and sets the row
    below the last: it is the first of the next stripe.

    column, row: of the repetition; None where the window does not reach the end.
    """
    if column is not None:
        bits[:num, column::pitch] = bits[:num, column - 1 :: pitch][:, :2]
    if row is not None:
        last = bits[(row - 1) % num] >> ((row - 1) // num) & 1
        bits[row % num] |= last << (row // num)
    keep, one = DROP_LOW
    below = bits[num].view(np.uint64)
    np.right_shift(bits[0].view(np.uint64), one, out=below)
    np.bitwise_and(below, keep, out=below)


def _contours(bits: Bytes, num: int, pitch: int, column: int | None, row: int | None) -> Bytes:
    """uint8 [N, Q]: the pixels that differ from the one to the east, south or south-east."""
    flat, size, step = bits.reshape(-1), num * 2 * pitch, 2 * pitch
    here = flat[:size]
    found = here ^ flat[1 : size + 1]
    differs = here ^ flat[step : step + size]
    np.bitwise_or(found, differs, out=found)
    np.bitwise_xor(here, flat[step + 1 : step + 1 + size], out=differs)
    np.bitwise_or(found, differs, out=found)
    lines = found.reshape(num, step)
    lines[:, pitch - 1 :: pitch] = 0  # there the next one belongs to another row
    if column is not None:
        lines[:, column::pitch] = 0
    if row is not None:
        lines[row % num] &= ~np.uint8(1 << row // num)
    return lines


def _dilate(lines: Bytes, radius: int) -> Bytes:
    """uint8 [N, Q]: the pixels within `radius` of a contour's, and something in the gaps, where no contour lies."""
    num, step = lines.shape
    size, border = num * step, radius * step
    # Stripes continue in each other: above the first byte row lies the last of the stripe before, one bit lower.
    room = np.empty(size + 2 * border, dtype=np.uint8)
    room[border : border + size] = lines.reshape(-1)
    tail, below = room[size : size + border], room[border + size :].view(np.uint64)
    np.add(tail, tail, out=room[:border])
    keep, one = DROP_LOW
    np.right_shift(room[border : 2 * border].view(np.uint64), one, out=below)
    np.bitwise_and(below, keep, out=below)
    grown = np.zeros(size, dtype=np.uint8)
    run = room  # run[i] holds whatever lies in `room[i : i + length]`
    for longer, down, half in _disk(radius):
        if longer:
            run = run[longer:] | run[:-longer]
        else:
            start = border + down * step - half
            np.bitwise_or(grown, run[start : start + size], out=grown)
    return grown.reshape(num, step)


@lru_cache(maxsize=64)
def _disk(radius: int) -> tuple[tuple[int, int, int], ...]:
    """How a disk, dx^2 + dy^2 <= radius^2, is painted, its narrow rows first: by how much runs get longer, or, if that is 0, rows
    down and half the width of a row of the disk that runs now are as long as."""
    half_of = {down: math.isqrt(radius**2 - down**2) for down in range(radius, -1, -1)}
    steps, length = [], 1
    for down, half in half_of.items():
        while length < 2 * half + 1:
            longer = min(length, 2 * half + 1 - length)
            steps.append((longer, 0, 0))
            length += longer
        steps += [(0, down, half), (0, -down, half)][: 2 if down else 1]
    return tuple(steps)


def _apart(both: Bytes, pitch: int) -> tuple[Bytes, Bytes]:
    """The prediction's bytes and the target's, each contiguous."""
    return np.ascontiguousarray(both[:, :pitch]), np.ascontiguousarray(both[:, pitch:])


def _count(packed: Bytes) -> int:
    """Bits that are set. OpenCV's norm is the fastest way to them: NumPy's needs a sum of what it counted in each word."""
    return int(cv2.norm(packed, cv2.NORM_HAMMING))
