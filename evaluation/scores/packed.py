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
GROUP = 16  # rows that a column search goes through together: a call of NumPy costs as much as a row
SHIFTS = tuple(np.uint64(STRIPES >> times) for times in (1, 2, 3))
"""by how many bits halves of the stripes are moved into the other half's bytes: half of them, a quarter, an eighth"""
ONE, KEPT = np.uint64(1), np.uint64(0x7F7F7F7F7F7F7F7F)
"""a shift of eight bytes at once by a bit, and what of it does not come from the byte beside"""


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
    columns = _columns(first, second, top, bottom)
    left, right = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
    return Window(max(top - 1, 0), bottom, max(left - 1, 0), right)


def _row_range(mask: Mask) -> tuple[int, int]:
    """The rows that hold pixels, half-open; (H, 0) if none does. It reads what lies outside of them and little more."""
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


def _columns(first: Mask, second: Mask, top: int, bottom: int) -> Mask:
    """bool [W]: which columns hold pixels of either mask in some rows."""
    height, width = first.shape
    groups = -(-(bottom - top) // GROUP)
    start = max(0, bottom - groups * GROUP)  # rows without a pixel do no harm
    if start + groups * GROUP > height:
        start, groups = 0, height // GROUP
    end = start + groups * GROUP
    found: Mask = np.bitwise_or.reduce(first[end:bottom], axis=0) | np.bitwise_or.reduce(
        second[end:bottom], axis=0
    )
    if groups:
        shape = (groups, GROUP * width)
        folded = np.bitwise_or.reduce(first[start:end].reshape(shape), axis=0)
        folded |= np.bitwise_or.reduce(second[start:end].reshape(shape), axis=0)
        found |= np.bitwise_or.reduce(folded.reshape(GROUP, width), axis=0)
    return found


def _pack(masks: tuple[Mask, Mask], window: Window, num: int, pitch: int) -> Bytes:
    """uint8 [8 N, Q], of which the first N rows are the bytes; what follows is room, 2 rows of it at least."""
    rows, columns = window.bottom - window.top, window.right - window.left
    room = np.zeros((STRIPES * num, 2 * pitch), dtype=np.uint8)
    for number, mask in enumerate(masks):
        part = mask[window.top : window.bottom, window.left : window.right]
        room[:rows, number * pitch : number * pitch + columns] = part
    words = room.reshape(-1).view(np.uint64)
    half = len(words) // 2
    for bits in SHIFTS:
        high = words[half : 2 * half]
        high <<= bits
        words[:half] |= high
        half //= 2
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
    below = bits[num].view(np.uint64)
    np.right_shift(bits[0].view(np.uint64), ONE, below)
    below &= KEPT


def _contours(bits: Bytes, num: int, pitch: int, column: int | None, row: int | None) -> Bytes:
    """uint8 [N, Q]: the pixels that differ from the one to the east, south or south-east."""
    flat, step = bits.reshape(-1), 2 * pitch
    size = num * step
    here = flat[:size]
    found = here ^ flat[1 : size + 1]
    found |= here ^ flat[step : step + size]
    found |= here ^ flat[step + 1 : step + 1 + size]
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
    # Stripes continue in each other: above the first byte row lies the last one of the stripe before, a bit lower.
    run = np.empty(size + 2 * border, dtype=np.uint8)
    run[border : border + size] = lines.reshape(-1)
    tail, below = run[size : size + border], run[border + size :].view(np.uint64)
    np.add(tail, tail, run[:border])
    np.right_shift(run[border : 2 * border].view(np.uint64), ONE, below)
    below &= KEPT
    grown = np.zeros(size, dtype=np.uint8)
    for longer, down, half in _disk(radius):
        if longer:
            run = run[longer:] | run[:-longer]  # run[i] is whatever lay at i and the places behind it
        else:
            start = border + down * step - half
            grown |= run[start : start + size]
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
