"""How a server, or the official program of a benchmark, wants the masks of a video.

  MeViS             VIDEO/EXPRESSION/FRAME.png (README and zip script of henghuiding/MeViS at 7c0620b)
  Ref-YouTube-VOS   Annotations/VIDEO/EXPRESSION/FRAME.png, of the videos of valid only (ReferFormer at 06fc218, docs/data.md)
  Ref-DAVIS17       anno_K/VIDEO/FRAME.png for K from 0 to 3, the objects of an annotator merged (ReferFormer, inference_davis.py)

The first two are grey, eight bits a pixel, 0 and 255; the last has the numbers of objects, with DAVIS' palette.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seglm.evaluation.scores.davis import Numbers
from seglm.evaluation.scores.ref_davis17 import by_annotator, folder_of, merge
from seglm.evaluation.scores.video_predictions import ON, expression_folder, video_name
from seglm.utils import png
from seglm.utils.types import Sample, Target

Mask = NDArray[np.bool_]
COLOURS = 256


@dataclass(frozen=True)
class Folder:
    """One folder of a zip: a PNG for each frame of a video."""

    name: str
    targets: tuple[Target, ...]
    """whose masks are in them; of a frame all in one file"""


class Form(Protocol):
    """The files of a benchmark."""

    @property
    def modes(self) -> Sequence[str]:
        """Pillow's modes that are taken."""
        ...

    def folders(self, sample: Sample) -> Sequence[Folder]:
        """Of a video. Raises ValueError if its expressions are not what the form needs."""
        ...

    def encode(self, masks: Sequence[Mask]) -> bytes:
        """A PNG of the masks of a folder's targets in one frame."""
        ...

    def fault(self, numbers: Numbers, folder: Folder) -> str:
        """What is wrong with the numbers of a PNG, uint8 [H, W]; empty if nothing."""
        ...


@dataclass(frozen=True)
class Apart:
    """A folder for each expression."""

    top: str = ""
    """the folder round everything, with its `/`"""
    modes: Sequence[str] = ("L",)

    def folders(self, sample: Sample) -> Sequence[Folder]:
        """See `Form`."""
        return [
            Folder(f"{self.top}{expression_folder(sample, target)}", (target,)) for target in sample.targets
        ]

    def encode(self, masks: Sequence[Mask]) -> bytes:
        """See `Form`."""
        [mask] = masks
        return png.of_grey(mask.astype(np.uint8) * ON)

    def fault(self, numbers: Numbers, folder: Folder) -> str:
        """See `Form`."""
        other = numbers[(numbers != 0) & (numbers != ON)]
        return f"holds the value {other[0]}, permitted are 0 and {ON}" if other.size else ""


@dataclass(frozen=True)
class Merged:
    """A folder for each annotator, with all objects in one picture."""

    modes: Sequence[str] = ("P", "L")

    def folders(self, sample: Sample) -> Sequence[Folder]:
        """See `Form`."""
        return [
            Folder(f"{folder_of(annotation)}/{video_name(sample)}", targets)
            for annotation, targets in enumerate(by_annotator(sample))
        ]

    def encode(self, masks: Sequence[Mask]) -> bytes:
        """See `Form`."""
        picture = Image.fromarray(merge(masks))
        picture.putpalette(davis_palette())
        data = io.BytesIO()
        picture.save(data, "PNG")
        return data.getvalue()

    def fault(self, numbers: Numbers, folder: Folder) -> str:
        """See `Form`."""
        highest, most = int(numbers.max(initial=0)), len(folder.targets)
        return f"holds the number {highest}, the video has {most} objects" if highest > most else ""


FORMS: Mapping[str, Form] = {
    "mevis": Apart(),
    "ref_youtube_vos": Apart("Annotations/"),
    "ref_davis17": Merged(),
}
"""by the data set's name"""


@cache
def davis_palette() -> tuple[int, ...]:
    """The colours of the numbers 0 to 255 in DAVIS and Pascal VOC: bits of the number, spread over red, green and blue."""
    return tuple(
        sum((number >> (3 * place + channel) & 1) << (7 - place) for place in range(3))
        for number in range(COLOURS)
        for channel in range(3)
    )
