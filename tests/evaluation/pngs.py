"""PNGs of every depth and colour type, written by hand: what other tools write cannot all be had from one library."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6


def png(
    numbers: NDArray[np.integer],
    depth: int,
    kind: int,
    *,
    palette: Sequence[tuple[int, int, int]] = (),
    clear: bytes = b"",
) -> bytes:
    """numbers: [H, W] or [H, W, channels], as they are stored. clear: the chunk tRNS."""
    height, width = numbers.shape[:2]
    lines = [b"\0" + _packed(line, depth) for line in numbers.reshape(height, -1)]
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    extra = _chunk(b"PLTE", bytes(part for colour in palette for part in colour)) if palette else b""
    extra += _chunk(b"tRNS", clear) if clear else b""
    body = _chunk(b"IHDR", head) + extra + _chunk(b"IDAT", zlib.compress(b"".join(lines)))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def _packed(line: NDArray[np.integer], depth: int) -> bytes:
    if depth == 16:
        return line.astype(">u2").tobytes()
    if depth == 8:
        return line.astype(np.uint8).tobytes()
    bits = (line[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
