"""What a person gets to see of an answer: the words, why there is a mask or none, and the files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.asking.chat_files import claimed, replacing
from seglm.evaluation.pictures.masks import MASK_COLOURS, Picture, overlay
from seglm.utils.prediction import FramePrediction

JPEG_QUALITY = 95
NOT_ASKED = (
    'no mask: the model wrote no [SEG] (to get one, ask for it, e.g. "Please segment the cup in this image.")'
)
NO_SEG = (
    "no [SEG] was produced: a mask was asked for and the model answered in words only (not the same as an empty mask; "
    "try another wording)"
)
EMPTY = "empty: the model drew nothing"
CUT = " (cut off here; a larger --max_new_tokens lets it write on)"
REJECTED = "rejected: the model says that it is not in the picture"


def save(answer: FramePrediction, picture: Picture, image: Path, folder: Path) -> list[Path]:
    """Writes `<name>_mask_<i>.png` (0 and 255) and `<name>_masked_img_<i>.jpg` for every mask; returns the masks' paths.

    picture: uint8 [H, W, 3], RGB. image: where it lies; its stem is the name, unless another picture has that (`claimed`).
    They replace the files of an earlier answer about the same picture; an answer without a mask leaves those alone.
    """
    if not answer.segments:
        return []
    stem = claimed(image, folder)
    with replacing(folder, stem) as fresh:
        names = write_masks(answer, picture, stem, fresh)
    return [folder / name for name in names]


def write_masks(answer: FramePrediction, picture: Picture, stem: str, folder: Path) -> list[str]:
    """The files of `save` themselves; returns the masks' names."""
    names = [f"{stem}_mask_{number}.png" for number in range(len(answer.segments))]
    for number, segment in enumerate(answer.segments):
        (folder / names[number]).write_bytes(segment.png())
        shown = overlay(picture, segment.mask, MASK_COLOURS[number % len(MASK_COLOURS)])
        _write_jpeg(folder / f"{stem}_masked_img_{number}.jpg", shown)
    return names


def described(answer: FramePrediction, paths: list[Path]) -> list[str]:
    """The lines a person reads: the model's words first, then a line for each mask, or why there is none.

    paths: of the masks, from `save`.
    """
    lines = [f"text_output: {shown_words(answer)}"]
    if not answer.segments:
        return [*lines, NOT_ASKED if answer.status == "not_asked" else NO_SEG]
    for number, (segment, path) in enumerate(zip(answer.segments, paths, strict=True)):
        if segment.is_rejected:
            lines.append(f"mask {number}: {REJECTED}: {path}")
            continue
        mask = segment.mask
        size = f"{mask.sum()} pixels, {100 * mask.mean():.1f} % of the picture" if mask.any() else EMPTY
        lines.append(f"mask {number}: {size}, estimated IoU {segment.score:.2f}: {path}")
        if segment.phrase:
            lines.append(f"phrase {number}: {segment.phrase}")
        if segment.keyword:
            lines.append(f"keyword {number}: {segment.keyword}")
    return lines


def shown_words(answer: FramePrediction) -> str:
    """What was said on one line, and whether it was cut off."""
    return (" ".join(answer.text.split()) or "(nothing)") + (CUT if answer.is_cut else "")


def _write_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise OSError(f"{path}: a picture of {picture.shape} could not be encoded as JPEG")
    path.write_bytes(data.tobytes())
