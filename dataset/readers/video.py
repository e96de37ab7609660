"""Videos as values: how many frames, how large, and the pixels of one of them. A folder of pictures is one, a film is another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from PIL import Image, UnidentifiedImageError

from seglm.dataset.faults import Fault, blamed, fault
from seglm.dataset.frames import Pixels, frame_size, read_frame
from seglm.dataset.readers.files import files_in, the_one

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""of the pictures in a folder of frames, in any case"""
FILMS = (
    *(".mp4", ".webm", ".mov", ".avi", ".mkv", ".m4v", ".mpg", ".mpeg", ".gif"),
    *(".wmv", ".flv", ".3gp", ".mts", ".m2ts", ".ogv"),
)
DIGITS = re.compile(r"(\d+)")
TOLD = 5  # missing frames that are named


class Video(Protocol):
    """Frames by number. It can be sent to another process, and read by several at once."""

    @property
    def names(self) -> tuple[str, ...]:
        """of the frames, for output files: `00005`; no ending"""
        ...

    @property
    def num_frames(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of every frame as it is shown, pixels"""
        ...

    @property
    def rate(self) -> float | None:
        """frames a second, the mean where they differ; None for a folder, which does not say"""
        ...

    def frame(self, index: int) -> Pixels:
        """uint8 [H, W, 3], RGB. Raises Fault, which says the number, if it cannot be decoded or has another size."""
        ...


@dataclass(frozen=True)
class FrameFolder:
    """A folder that holds a picture for each frame."""

    key: str
    folder: Path
    files: tuple[str, ...]
    size: tuple[int, int]
    rate: None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(file.rpartition(".")[0] for file in self.files)

    @property
    def num_frames(self) -> int:
        return len(self.files)

    def frame(self, index: int) -> Pixels:
        within(index, self.num_frames, self.key)
        file = self.folder / self.files[index]
        return read_frame(file, f"{self.key}, frame {index}", self.size, whose="the first frame is")


def open_video(path: Path | str, key: str = "") -> Video:
    """The video in a folder of frames or in a file (mp4, webm, mov, avi, gif, ...: what FFmpeg reads).

    key: begins the messages; default: the path's name.
    Raises Fault if there is nothing, no frame in the folder, or no video in the file; also for a folder with films, of which
    the pictures beside them are no video.
    """
    path = Path(path)
    key = key or path.name
    if path.is_dir():
        with blamed(key, path, "the folder of frames"):
            if films := [name for names in files_in(path, *FILMS).values() for name in names]:
                told = ", ".join(films[:TOLD]) + (", ..." if len(films) > TOLD else "")
                raise ValueError(
                    f"holds {len(films)} films ({told}); name one of them, or a folder of frames alone"
                )
        return open_folder(path, key)
    if not path.exists():
        raise fault(key, path, "there is no video: expected is a folder of frames or a video file")
    from seglm.dataset.readers.video_file import open_file  # FFmpeg is large, and data sets come in folders

    return open_file(path, key)


def open_whole(path: Path | str, key: str = "") -> Video:
    """The same of what a person asks about: of a folder every frame's head is looked at, and no pixel decoded, so that a frame
    that is no picture or of another size is told before the others are answered.

    Raises Fault as `open_video`, and for such a frame.
    """
    video = open_video(path, key)
    if isinstance(video, FrameFolder):
        for number, file in enumerate(video.files):
            name = f"{video.key}, frame {number}"
            size, first = frame_size(video.folder / file, name), video.size
            if sorted(size) != sorted(first):
                # One that is only turned is told when it is decoded.
                told = (
                    f"the image is {size[0]} x {size[1]}, the first frame is {first[0]} x {first[1]} (H x W)"
                )
                raise fault(name, video.folder / file, told)
    return video


def open_folder(folder: Path, key: str, names: Sequence[str] | None = None) -> FrameFolder:
    """The frames in a folder: all of them in natural order, or those of these names, in that order.

    Raises Fault if the folder is not there or holds no frame, if one of `names` is missing, or if there are two files for one.
    """
    with blamed(key, folder, "the folder of frames"):
        found = files_in(folder, *ENDINGS)
        if not found:
            raise ValueError(f"holds no frame; frames are pictures named {', '.join(ENDINGS)}")
        wanted = sorted(found, key=natural) if names is None else names
        if absent := [name for name in wanted if name not in found]:
            told = ", ".join(absent[:TOLD]) + (", ..." if len(absent) > TOLD else "")
            raise ValueError(f"{len(absent)} of {len(wanted)} frames are missing: {told}")
        files = tuple(the_one(found[name], folder) for name in wanted)
    return FrameFolder(key, folder, files, frame_size(folder / files[0], f"{key}, frame 0"))


def is_picture(path: Path) -> bool:
    """Whether it is a file that holds a single picture; an animation holds more, a film or a folder none.

    What a phone or a camera lays behind its JPEG (Pillow's MPO: a small copy, a map of depth or light, a second eye) is no film.
    """
    if path.is_dir():
        return False
    try:
        with Image.open(path) as image:
            return image.format == "MPO" or not getattr(image, "is_animated", False)
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return path.suffix.lower() in ENDINGS  # a broken one


@cache
def natural(name: str) -> tuple[tuple[str, int, str], ...]:
    """A key by which numbers in names are sorted as numbers: frame9 before frame10."""
    parts = DIGITS.split(name)
    return tuple(("", int(part), part) if part.isdecimal() else (part, -1, "") for part in parts)


def within(index: int, num_frames: int, key: str) -> None:
    """Raises Fault if there is no such frame."""
    if not 0 <= index < num_frames:
        raise Fault(f"{key}: frame {index} of {num_frames}; permitted are 0 to {num_frames - 1}")
