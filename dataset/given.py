"""What somebody asks about, of no data set: a picture or a video, as a path or as pixels that are in memory already.

What comes as pixels is never guessed at: another type, range or order of its axes is an error that says what to write instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from seglm.dataset.frames import EIGHT_BITS, MOST_PIXELS, Pixels, read_frame
from seglm.dataset.readers.video import Video, is_picture, open_whole, within
from seglm.utils.types import Region, Sample

if TYPE_CHECKING:
    from torch import Tensor

    Name = str | os.PathLike[str]
    Picture = Name | Image.Image | NDArray[np.uint8] | Tensor
    """a file; a PIL image; uint8 [H, W, 3], RGB, of NumPy; uint8 [3, H, W], RGB, of PyTorch"""
    Film = Name | Video | Sequence[Picture] | NDArray[np.uint8] | Tensor
    """a video file or a folder of frames; pictures in a list; uint8 [T, H, W, 3] of NumPy; uint8 [T, 3, H, W] of PyTorch"""

NOTHING = "a conversation"
RECENT = 8  # frames of a video that are kept decoded
BITS_16 = ("I;16", "I;16B", "I;16L")
RGB, RGBA = 3, 4  # channels


def is_video(given: Picture | Film | None) -> bool:
    """Whether it is a video, also one of a single frame. Raises FileNotFoundError for a path to nothing."""
    if isinstance(given, str | os.PathLike):
        return not is_picture(there(given))
    if given is None or isinstance(given, Image.Image):
        return False
    if hasattr(given, "ndim"):
        return int(given.ndim) > RGB
    return hasattr(given, "num_frames") or (
        hasattr(given, "__iter__") and not isinstance(given, bytes | Mapping)
    )


def sample_of(given: Picture | Film | None) -> Sample:
    """A sample about which nothing is asked yet; None: of words alone. A picture is decoded here, a frame when it is taken.

    Raises FileNotFoundError, ValueError for what is no picture and no video, and Fault for a file that cannot be read.
    """
    if given is None:
        return Sample(NOTHING, (0, 0), lambda _: np.zeros((0, 0, RGB), np.uint8), num_frames=0)
    if is_video(given):
        return sample_of_video(video_of(given), _name(given, "the video"))  # type: ignore[arg-type]
    pixels = picture_of(given, name := _name(given, "the picture"))
    return Sample(name, (pixels.shape[0], pixels.shape[1]), lambda _: pixels, path=name)


def sample_of_video(video: Video, name: str) -> Sample:
    """The same of a video that is open; name: begins messages about it. Its last frames stay decoded."""
    frame = lru_cache(RECENT)(video.frame)
    return Sample(name, video.size, frame, video.num_frames, path=name, frame_names=video.names)


def regions_of(masks: Any, sample: Sample) -> tuple[Region, ...]:
    """Masks of things that are pointed at: bool [R, H, W], or 0 and 1 in another type; in a video the same in every frame.

    Raises ValueError for another size or other values, and for an empty mask, under which nothing lies.
    """
    array = np.asarray(masks)
    if array.shape[1:] != sample.size or array.ndim != RGB or not len(array):
        raise ValueError(
            f"regions are of {list(array.shape)}; permitted is bool [R, {sample.size[0]}, {sample.size[1]}], R from 1"
        )
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"regions are {array.dtype}, {_range(array)}; permitted is bool, or 0 and 1")
    if empty := [number + 1 for number, mask in enumerate(array) if not mask.any()]:
        raise ValueError(f"region{empty[0]} has no pixel; leave it out")
    whole = array.astype(np.bool_)
    return tuple(
        Region(lambda frames, mask=mask: np.stack([mask] * len(frames)))  # type: ignore[misc]
        for mask in whole
    )


def there(path: Name) -> Path:
    """The path. Raises FileNotFoundError, or ValueError for an address, which nothing here fetches."""
    if "://" in str(path):
        raise ValueError(f"{path}: an address; download it first and give the file")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: there is no such picture, video or folder of frames")
    return Path(path)


def picture_of(given: Any, name: str) -> Pixels:
    """uint8 [H, W, 3], RGB; of a file and of a PIL image turned as its EXIF says, without transparency.

    name: begins the messages. Raises ValueError for any other type, range or order of axes, Fault for a file.
    """
    if isinstance(given, str | os.PathLike):
        return read_frame(there(given), str(given))
    if isinstance(given, Image.Image):
        return _of_pillow(given, name)
    if isinstance(given, np.ndarray):
        return _fitting(given, name)
    if hasattr(given, "detach"):
        return _of_torch(given, name)
    raise ValueError(
        f"{name} is a {type(given).__name__}; permitted are a path, a PIL image, uint8 [H, W, 3] of NumPy and uint8 [3, H, W] of "
        "PyTorch, RGB"
    )


def video_of(given: Film) -> Video:
    """The video, open. Raises ValueError for no frames, and for what cannot be asked for a frame by its number."""
    if isinstance(given, str | os.PathLike):
        return open_whole(there(given), str(given))
    if hasattr(given, "num_frames"):
        return given  # type: ignore[return-value]
    if not (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
        raise ValueError(
            f"a video is a {type(given).__name__}; frames are taken by number: give a list, an array, a file or a folder"
        )
    if not len(given):
        raise ValueError("a video without a frame; give one at least")
    first = picture_of(given[0], "frame 0")
    return Listed(given, (first.shape[0], first.shape[1]))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Listed:
    """A video of pictures that lie in a list or an array."""

    pictures: Sequence[Picture]
    size: tuple[int, int]
    rate: None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{number:05d}" for number in range(len(self.pictures)))

    @property
    def num_frames(self) -> int:
        return len(self.pictures)

    def frame(self, index: int) -> Pixels:
        within(index, self.num_frames, "the video")
        pixels = picture_of(self.pictures[index], "it")
        if pixels.shape[:2] != self.size:
            raise ValueError(
                f"it is of {pixels.shape[:2]}, frame 0 of {self.size} (H, W); frames are of one size"
            )
        return pixels


def _name(given: object, otherwise: str) -> str:
    return str(given) if isinstance(given, str | os.PathLike) else otherwise


def _of_pillow(image: Image.Image, name: str) -> Pixels:
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{name} has {image.width} x {image.height} pixels; at most {MOST_PIXELS} are taken")
    image = ImageOps.exif_transpose(image)
    if image.mode in BITS_16:  # as OpenCV does it with a file
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], RGB, axis=2)
    if image.mode not in EIGHT_BITS:
        raise ValueError(f"{name} is a PIL image of mode {image.mode}; give picture.convert('RGB')")
    return _fitting(np.array(image.convert("RGB")), name)


def _of_torch(tensor: Tensor, name: str) -> Pixels:
    array = tensor.detach().cpu()
    if array.ndim == RGB and array.shape[0] != RGB and array.shape[-1] == RGB:
        raise ValueError(
            f"{name} is a tensor of {list(array.shape)}, channels last; PyTorch's are first: give picture.permute(2, 0, 1)"
        )
    if str(array.dtype) == "torch.bfloat16":
        array = array.float()
    numbers = array.numpy()
    return _fitting(np.moveaxis(numbers, 0, -1) if numbers.ndim == RGB else numbers, name, channels=0)


def _fitting(array: NDArray[Any], name: str, *, channels: int = -1) -> Pixels:
    """The array itself, if it is a picture. channels: the axis at which the user has them, for the message."""
    is_moved = channels == 0 and array.ndim == RGB
    shape = list(np.moveaxis(array, -1, 0).shape if is_moved else array.shape)
    if not array.size:
        raise ValueError(f"{name} of {shape} has no pixel")
    if array.dtype != np.uint8:
        raise ValueError(
            f"{name} is {array.dtype}, {_range(array)}; permitted is uint8, 0 to 255{_as_uint8(array, channels)}"
        )
    if array.ndim != RGB or array.shape[-1] != RGB:
        form = "[3, H, W]" if channels == 0 else "[H, W, 3]"
        raise ValueError(f"{name} is of {shape}; permitted is {form}, RGB{_as_rgb(array, channels)}")
    if array.shape[0] * array.shape[1] > MOST_PIXELS:
        raise ValueError(f"{name} of {shape} has more than {MOST_PIXELS} pixels; make it smaller")
    return np.ascontiguousarray(array)


def _range(array: NDArray[Any]) -> str:
    if array.dtype.kind not in "biuf":
        return "which are no numbers"
    return f"{float(array.min()):g} to {float(array.max()):g}"


def _as_uint8(array: NDArray[Any], channels: int) -> str:
    if array.dtype.kind not in "iuf":
        return ""
    least, most = array.min(), array.max()
    cast = "to(torch.uint8)" if channels == 0 else "astype('uint8')"
    if least < 0:
        return "; normalised pixels cannot be taken back: give the picture as it was before"
    if array.dtype.kind == "f" and most <= 1:
        return f": give (255 * picture).round().{cast}"
    fits_a_byte = most <= 255
    return f": give picture.{cast}" if fits_a_byte else f": of 16 bits give (picture // 256).{cast}"


def _as_rgb(array: NDArray[Any], channels: int) -> str:
    if channels == 0:
        return (
            ": of a grey one give picture.expand(3, -1, -1)"
            if array.ndim == 2 or array.shape[-1] == 1
            else ""
        )
    if array.ndim == 2:
        return ": of a grey one give numpy.stack([picture] * 3, axis=-1)"
    if array.ndim == RGB and array.shape[-1] == 1:
        return ": of a grey one give numpy.repeat(picture, 3, axis=-1)"
    if array.ndim == RGB and array.shape[-1] == RGBA:
        return ": without its transparency it is picture[..., :3]"
    if array.ndim == RGB and array.shape[0] in (1, RGB, RGBA):
        return ": its channels come first, give picture.transpose(1, 2, 0)"
    return ""
