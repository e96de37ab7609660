"""What a person gets to see of an answer: the words, why there is a mask or none, and the files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.asking.chat_files import claimed, replacing
from seglm.evaluation.pictures.masks import MASK_COLOURS, Mask, Picture, overlay
from seglm.evaluation.scores.files import write_mask
from seglm.utils.answers import Answer

JPEG_QUALITY = 95
NOT_ASKED = (
    'no mask: the model wrote no [SEG] (to get one, ask for it, e.g. "Please segment the cup in this image.")'
)
NO_SEG = (
    "no [SEG] was produced: a mask was asked for and the model answered in words only (not the same as an empty mask; "
    "try another wording)"
)
EMPTY = "empty: the model drew nothing"
REJECTED = "rejected: the model says that it is not in the picture"


def masks_of(answer: Answer, size: tuple[int, int]) -> list[Mask]:
    """Every slot's mask, bool [H, W], logit above 0; a rejected slot's is empty."""
    return [
        np.zeros(size, dtype=np.bool_) if mask is None else np.asarray((mask > 0).numpy(), dtype=np.bool_)
        for mask in answer.masks
    ]


def save(answer: Answer, picture: Picture, image: Path, folder: Path) -> list[Path]:
    """Writes `<name>_mask_<i>.png` (0 and 255) and `<name>_masked_img_<i>.jpg` for every mask; returns the masks' paths.

    picture: uint8 [H, W, 3], RGB. image: where it lies; its stem is the name, unless another picture has that (`claimed`).
    They replace the files of an earlier answer about the same picture; an answer without a mask leaves those alone.
    """
    masks = masks_of(answer, (picture.shape[0], picture.shape[1]))
    if not masks:
        return []
    stem = claimed(image, folder)
    names = [f"{stem}_mask_{number}.png" for number in range(len(masks))]
    with replacing(folder, stem) as fresh:
        for number, mask in enumerate(masks):
            write_mask(fresh / names[number], mask)
            shown = overlay(picture, mask, MASK_COLOURS[number % len(MASK_COLOURS)])
            _write_jpeg(fresh / f"{stem}_masked_img_{number}.jpg", shown)
    return [folder / name for name in names]


def described(answer: Answer, paths: list[Path]) -> list[str]:
    """The lines a person reads: the model's words first, then a line for each mask, or why there is none.

    paths: of the masks, from `save`.
    """
    words = " ".join(answer.spoken.text.split())
    lines = [f"text_output: {words}" if words else "text_output: (nothing)"]
    if not answer.spoken.tokens:
        return [*lines, NOT_ASKED if answer.spoken.status == "not_asked" else NO_SEG]
    for number, (logits, path) in enumerate(zip(answer.masks, paths, strict=True)):
        if logits is None:
            lines.append(f"mask {number}: {REJECTED}: {path}")
            continue
        mask = logits > 0
        share = float(mask.float().mean())
        sure = f", estimated IoU {answer.scores[number]:.2f}" if answer.scores else ""
        size = f"{int(mask.sum())} pixels, {100 * share:.1f} % of the picture" if mask.any() else EMPTY
        lines.append(f"mask {number}: {size}{sure}: {path}")
        if any(answer.spoken.keywords[number : number + 1]):
            lines.append(f"keyword {number}: {answer.spoken.keywords[number]}")
    return lines


def _write_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise OSError(f"{path}: a picture of {picture.shape} could not be encoded as JPEG")
    path.write_bytes(data.tobytes())
