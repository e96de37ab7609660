"""Video files, decoded by FFmpeg frame by frame; whoever asks for frames in another order gets the same pixels.

A file is indexed by what its packets say, without a pixel being decoded: when each frame is shown, and where decoding can begin.
Where a container says nothing that can be relied on (AVI, GIF), its frames are counted once and found by counting.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from seglm.dataset.faults import blamed, fault
from seglm.dataset.frames import MOST_PIXELS, Pixels
from seglm.dataset.readers.video import is_picture, within
from seglm.utils.containers import flaw
from seglm.utils.regular import refuse_endless

TIMED = frozenset({"mp4", "mov", "matroska", "webm"})
"""containers (FFmpeg's names) whose packets say when their frame is shown, and in which one can seek"""
STRICT = {"err_detect": "explode"}  # a damaged frame is an error, not a guess of the decoder's
LOCAL = {"protocol_whitelist": "file"}  # a play list is no reason to open a connection
SHOWN_IN_VP8 = 0x10  # bit of a packet's first byte (RFC 6386, 9.1); VP9 and AV1 have such frames inside packets of shown ones
TRIES = 3  # key frames to begin at, before decoding begins at the first
START: None = None

Times = NDArray[np.int64]


@dataclass(frozen=True)
class VideoFile:
    """A film. The process that reads it opens a decoder, which stays where it is: the next frame costs one frame."""

    key: str
    path: Path
    size: tuple[int, int]
    rate: float | None
    num_frames: int
    shown: Times | None = field(compare=False)
    """int64 [frames]: when each is shown, in the stream's unit of time, ascending; None if they are counted"""
    entries: Times | None = field(compare=False)
    """int64 [key frames]: those of the times at which decoding can begin"""
    reading: Reading = field(default_factory=lambda: Reading(), compare=False, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{number:05d}" for number in range(self.num_frames))

    def frame(self, index: int) -> Pixels:
        within(index, self.num_frames, self.key)
        with self.reading.lock, blamed(self.key, self.path, f"frame {index} cannot be decoded"):
            self.reading.belong_here()
            if self.reading.at != index:
                try:
                    self.reading.pixels = self._pixels(self._reach(index), index)
                except Broken as error:
                    self.reading.stop()
                    number = self._number(error.time, error.count)
                    told = f"frame {index if number is None else number} is broken: {error}"
                    raise fault(self.key, self.path, told) from error
                except BaseException:
                    self.reading.stop()
                    raise
            return self.reading.pixels

    def _reach(self, index: int) -> Any:
        """FFmpeg's frame of that number."""
        now = self.reading
        if now.at is not None and now.at < index and not self._entries(now.at + 1, index):
            with suppress(Broken):
                decoded = now.go_to(index)  # on from where the decoder stands
                if now.at == index:
                    return decoded
        # Behind a seek decoding may begin too late, if a key frame is stored before frames that are shown before it, or lack what
        # an open group of frames refers to. From the first frame on nothing is lacking.
        for entry in (*self._entries(0, index)[-TRIES:][::-1], START):
            now.start(self._decoded(entry))
            with suppress(*[Broken] if entry is not START else []):
                decoded = now.go_to(index)
                if now.at == index:
                    return decoded
        raise ValueError("the file says that it is there, but nothing is")

    def _entries(self, first: int, last: int) -> list[int]:
        """Times at which decoding can begin, from that of one frame to that of another."""
        if self.shown is None or self.entries is None:
            return []
        left = np.searchsorted(self.entries, self.shown[first], "left")
        right = np.searchsorted(self.entries, self.shown[last], "right")
        return [int(entry) for entry in self.entries[left:right]]

    def _decoded(self, entry: int | None) -> Iterator[tuple[int, Any]]:
        """(number, FFmpeg's frame) from an entry on, in the order in which they are shown."""
        with av.open(str(self.path), options=LOCAL) as container:
            stream = film(container)
            if entry is not START:
                try:
                    container.seek(entry, stream=stream, backward=True)
                except av.error.FFmpegError as error:  # a WebM may not say where its key frames are
                    raise Broken(str(error.strerror), None, 0) from error
            for count, decoded in enumerate(decoded_frames(container, stream, entry)):
                number = self._number(decoded.pts, count)
                if number is not None:
                    yield number, decoded

    def _number(self, time: int | None, count: int) -> int | None:
        """The number of the frame that is shown at a time; None if none is, as for what lies before the first."""
        if self.shown is None:
            return count
        number = self.num_frames if time is None else int(np.searchsorted(self.shown, time))
        return number if number < self.num_frames and self.shown[number] == time else None

    def _pixels(self, decoded: Any, index: int) -> Pixels:
        pixels = pixels_of(decoded)
        if pixels.shape[:2] != self.size:
            (height, width), (first, second) = pixels.shape[:2], self.size
            raise ValueError(f"it is {height} x {width}, the first is {first} x {second} (H x W)")
        return pixels


class Reading:
    """The decoder of one process, and the frame that it gave last; it stays behind when a video is sent to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process = os.getpid()
        self.stop()

    def __reduce__(self) -> tuple[Any, ...]:
        return Reading, ()

    def stop(self) -> None:
        self.start(iter(()))

    def start(self, frames: Iterator[tuple[int, Any]]) -> None:
        self.frames = frames
        self.at: int | None = None
        self.pixels: Pixels = np.empty((0, 0, 3), dtype=np.uint8)

    def belong_here(self) -> None:
        """A forked process opens the file anew: two would move one place in it."""
        if self.process != os.getpid():
            self.process = os.getpid()
            self.stop()

    def go_to(self, index: int) -> Any:
        """FFmpeg's frame at that number or behind it; `at` is where that is, or None at the end."""
        self.at = None
        for number, decoded in self.frames:
            if number >= index:
                self.at = number
                return decoded
        return None


class Broken(ValueError):
    """What a decoder refuses, with the time at which it would be shown, and how many frames came before it."""

    def __init__(self, told: str, time: int | None, count: int) -> None:
        super().__init__(told)
        self.time = time
        self.count = count


def open_file(path: Path, key: str) -> VideoFile:
    """The film in a file. Raises Fault if there is none in it, or if it is cut short."""
    with blamed(key, path, "is no video that FFmpeg can read"):
        refuse_endless(path)
        if what := flaw(path):
            raise ValueError(f"the file is {what}; fetch it again")
        with av.open(str(path), options=LOCAL) as container:
            formats = set(container.format.name.split(","))
            if any(one.endswith("_pipe") or one == "image2" for one in formats):
                raise ValueError(
                    "is a picture, not a video"
                    if is_picture(path)
                    else "holds several pictures, and FFmpeg reads one; save them as a folder of frames, a GIF or an mp4"
                )
            stream = film(container)
            if stream.codec_context.width * stream.codec_context.height > MOST_PIXELS:
                raise ValueError(f"has frames of more than {MOST_PIXELS} pixels; make it smaller")
            rate = stream.average_rate
            shown, entries = by_time(container, stream) if formats & TIMED else (None, None)
        number, size = _looked_at(path, None if shown is None else len(shown))
    return VideoFile(key, path, size, float(rate) if rate else None, number, shown, entries)


def _looked_at(path: Path, number: int | None) -> tuple[int, tuple[int, int]]:
    """How many frames there are, which are counted if it is not known, and (H, W) of the first. Raises ValueError."""
    count, size = 0, (0, 0)
    with av.open(str(path), options=LOCAL) as container:
        try:
            for decoded in decoded_frames(container, film(container)):
                if not count:
                    height, width = pixels_of(decoded).shape[:2]
                    size = (height, width)
                count += 1
                if number is not None:
                    break
        except Broken as error:
            raise ValueError(f"frame {error.count} is broken: {error}") from error
    if not count:
        raise ValueError("holds no frame")
    return number or count, size


def film(container: Any) -> Any:
    """The first video stream that is no cover picture, its decoder strict and of one thread. Raises ValueError if there is none.

    A thread of a decoder would not be there in a forked process, which waits for it for ever when it lets the decoder go.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            stream.codec_context.options = STRICT
            stream.codec_context.thread_count = 1
            return stream
    held = ", ".join(one.type for one in container.streams)
    raise ValueError(
        f"holds no video, only {held}" if held else "holds no video and nothing else; is the file whole?"
    )


def by_time(container: Any, stream: Any) -> tuple[Times | None, Times | None]:
    """When frames are shown, and which are key frames; None if the packets do not say so.

    Raises ValueError if there are fewer than the file claims.
    """
    packets = [packet for packet in container.demux(stream) if packet.size]
    if len(packets) < stream.frames:
        raise ValueError(f"is cut short: {len(packets)} of {stream.frames} frames are there")
    is_vp8 = stream.codec_context.codec.canonical_name == "vp8"
    shown = [
        packet.pts
        for packet in packets
        if not (packet.is_discard or (is_vp8 and not memoryview(packet)[0] & SHOWN_IN_VP8))
    ]
    keys = [packet.pts for packet in packets if packet.is_keyframe]
    if not keys or None in keys or None in shown or len(set(shown)) < len(shown):
        return None, None
    # What lies before the first key frame cannot be decoded.
    return np.array(sorted(time for time in shown if time >= keys[0]), dtype=np.int64), np.array(
        sorted(keys), dtype=np.int64
    )


def decoded_frames(container: Any, stream: Any, entry: int | None = START) -> Iterator[Any]:
    """FFmpeg's frames as they are shown. Raises Broken behind the last good one.

    entry: the time of the key frame that was sought. What is stored behind it and shown before it refers to frames that the
    decoder has not seen: nobody asked for it, and it may be broken.
    """
    count = 0
    for packet in container.demux(stream):
        is_before = entry is not START and packet.pts is not None and packet.pts < entry
        try:
            decoded = packet.decode()
        except av.error.FFmpegError as error:
            if is_before:
                continue
            for one in stream.codec_context.decode(None):  # what it holds back, to bring it in order
                if one.is_corrupt or one.pts == packet.pts:
                    break
                yield one
                count += 1
            raise Broken(str(error.strerror), packet.pts, count) from error
        for one in decoded:
            if entry is not START and one.pts is not None and one.pts < entry:
                continue
            if one.is_corrupt:
                raise Broken("the decoder calls it corrupt", one.pts, count)
            yield one
            count += 1


def pixels_of(decoded: Any) -> Pixels:
    """uint8 [H, W, 3], RGB, turned as the file says that it is shown."""
    pixels: Pixels = decoded.to_ndarray(format="rgb24")
    quarters = round(decoded.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels
