"""Small films that tests encode themselves: four coloured fields, one of which tells the number of the frame."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

SIZE = (48, 64)
CORNERS = {(12, 16): (220, 30, 40), (36, 16): (30, 190, 40), (12, 48): (20, 40, 210)}
"""(row, column) -> its colour in every frame, RGB"""
TELLS = (36, 48)  # the field whose grey is the number of the frame
STEP = 6  # of grey, from frame to frame
KINDS = {
    "mp4": ("libx264", "yuv420p", {"g": "8", "bf": "3"}),
    "mov": ("libx264", "yuv420p", {"g": "12"}),
    "webm": ("libvpx-vp9", "yuv420p", {"g": "8", "cpu-used": "8"}),
    "mkv": ("libx264", "yuv420p", {"g": "8", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
    "avi": ("mpeg4", "yuv420p", {"g": "8", "bf": "2"}),
    "gif": ("gif", "rgb8", {}),
}
"""ending -> encoder, its pixels, options: frames that are stored in another order than shown, groups of frames,
some of which refer to the group before (mkv)"""
VP8 = ("libvpx", "yuv420p", {"g": "8", "cpu-used": "8"})
TURNS = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""degrees clockwise -> the first two columns and rows of the matrix in an mp4's track header"""


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    height, width = size
    pixels = np.full((height, width, 3), number * STEP % 256, dtype=np.uint8)
    for (row, column), colour in CORNERS.items():
        top, left = (row // 24) * height // 2, (column // 32) * width // 2
        pixels[top : top + height // 2, left : left + width // 2] = colour
    return pixels


def film(
    path: Path,
    count: int = 30,
    *,
    rate: Fraction | int = 25,
    size: tuple[int, int] = SIZE,
    times: Sequence[int] = (),
    kind: str = "",
) -> Path:
    """Encodes a film. times: when each frame is shown, in milliseconds; default: evenly."""
    encoder, pixels, options = VP8 if kind == "vp8" else KINDS[kind or path.suffix[1:]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=rate, options=dict(options))
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn(path: Path, degrees: int) -> None:
    """Makes an mp4 say that it is shown turned clockwise, as a phone does."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2, version 0
    a, b, c, d = (value * 2**16 for value in TURNS[degrees])
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    path.write_bytes(content)


def damage(path: Path, number: int) -> None:
    """Overwrites the packet of a frame, which is the one in that place in the file."""
    with av.open(str(path)) as container:
        packets = [
            (packet.pts, packet.pos, packet.size) for packet in container.demux(video=0) if packet.size
        ]
    _, position, length = sorted(packets)[number]
    content = bytearray(path.read_bytes())
    content[position + 8 : position + length] = np.random.default_rng(0).bytes(length - 8)
    path.write_bytes(content)


def with_hidden(path: Path, count: int, numbers: Sequence[int]) -> Path:
    """A VP8 film in which the packets of some frames stand twice, first as frames that are not shown; its container does not
    say where key frames are.
    """
    with av.open(str(film(path, count, kind="vp8"))) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for number, content in enumerate(packets):
            hidden = [bytes([content[0] & ~0x10]) + content[1:]] if number in numbers else []
            for before, one in enumerate([content, *hidden][::-1]):
                packet = av.Packet(one)
                packet.stream, packet.time_base = stream, Fraction(1, 1000)
                packet.pts = packet.dts = 40 * number + before
                container.mux(packet)
    return path


def only_sound(path: Path) -> Path:
    """An mp4 without a picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate, frame.pts = 8000, 0
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
