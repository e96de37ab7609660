"""Sheets that put picture, truth, prediction and words side by side.

A panel lights the mask: the rest of the picture is faded, so that a mask is seen on any colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw

from seglm.evaluation.pictures.masks import OPACITY, Mask, Picture, check_fit, mixed, outlined
from seglm.evaluation.pictures.text import BAND, FAINT, INK, LINE, PAPER, Colour, blank, font, write

FADE = 0.5  # how far the unlit part of a panel goes to white
NOTHING = "no mask"
SIDE, GAP, WORDS = 200, 12, 300  # a panel, the space between panels, the column of words; pixels
HEAD, SUBHEAD = 64, 30


@dataclass(frozen=True)
class Layer:
    """One mask in a panel."""

    mask: Mask
    """bool [H, W]"""
    colour: Colour
    style: Literal["lit", "veiled", "outlined"] = "lit"
    """`lit`: shown in its own colours with an outline; `veiled`: covered with the colour; `outlined`: a thin outline alone"""


@dataclass(frozen=True)
class Panel:
    """A picture with the masks that are shown in it."""

    picture: Picture
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Row:
    """One line of a sheet: a picture in several panels, or frames of a video, and words."""

    panels: tuple[Panel, ...]
    """aligned with the sheet's columns"""
    title: str
    lines: tuple[str, ...] = ()
    section: str = ""
    """a heading is written where it changes"""


def panel(picture: Picture, layers: Sequence[Layer], side: int = SIDE) -> Image.Image:
    """The picture with masks, fitted into a square of `side` pixels; without a layer it is shown as it is.

    A small picture is enlarged before anything is drawn, so that outlines stay thin.
    """
    for layer in layers:
        check_fit(layer.mask, picture)
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = np.asarray(cv2.resize(picture, size, interpolation=method), dtype=np.uint8)
    if not layers:
        return Image.fromarray(shown)
    masks = [(_resized(layer.mask, size), layer) for layer in layers]
    lit = (
        np.any([mask for mask, layer in masks if layer.style == "lit"], axis=0)
        if masks
        else np.zeros(size[::-1], bool)
    )
    grey = np.repeat(shown.mean(2, keepdims=True), 3, axis=2)
    result: Picture = np.where(lit[..., None], shown, mixed(grey, PAPER, FADE))
    for mask, layer in masks:
        if layer.style == "veiled":
            result[mask] = mixed(result[mask], layer.colour, OPACITY)
        else:
            result = outlined(result, mask, layer.colour, 2 if layer.style == "lit" else 1)
    return Image.fromarray(result)


def sheet(
    path: Path, *, title: str, legend: Mapping[str, Colour], columns: Sequence[str], rows: Sequence[Row]
) -> None:
    """Writes a PNG with one line a row: the panels under their column's name, the words at the right; both fit into a row.

    legend: what each colour means.
    Raises ValueError if a row has another number of panels than there are columns.
    """
    for row in rows:
        if len(row.panels) != len(columns):
            raise ValueError(
                f"{row.title!r} has {len(row.panels)} panels for {len(columns)} columns {list(columns)}"
            )
    width = GAP + len(columns) * (SIDE + GAP) + WORDS + GAP
    sections = sum(
        row.section != before for row, before in zip(rows, ["", *(row.section for row in rows)], strict=False)
    )
    _, scratch = blank(1, 1)
    heights = [max(SIDE, _words(scratch, row, left=0, top=0)) for row in rows]
    height = HEAD + SUBHEAD + sum(heights) + len(rows) * GAP + sections * SUBHEAD + GAP
    image, pen = blank(width, height)
    write(pen, (GAP, 12), title, width=width - 2 * GAP, size=17, bold=True)
    _legend(pen, legend)
    pen.rectangle((0, HEAD, width, HEAD + SUBHEAD - 4), fill=BAND)
    for number, name in enumerate(columns):
        write(pen, (GAP + number * (SIDE + GAP), HEAD + 5), name, width=SIDE, size=13, bold=True)
    top, section = HEAD + SUBHEAD, ""
    for row, high in zip(rows, heights, strict=True):
        if row.section != section:
            section = row.section
            write(pen, (GAP, top + 5), section, width=width - 2 * GAP, size=15, bold=True)
            top += SUBHEAD
        for number, one in enumerate(row.panels):
            layers, small = one.layers, panel(one.picture, one.layers)
            if layers and not any(layer.mask.any() for layer in layers if layer.style == "lit"):
                small = _with_note(small, NOTHING)
            left = GAP + number * (SIDE + GAP)
            pen.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=BAND)
            image.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))
        _words(pen, row, left=GAP + len(columns) * (SIDE + GAP), top=top)
        pen.line((GAP, top + high + GAP // 2, width - GAP, top + high + GAP // 2), fill=LINE)
        top += high + GAP
    image.save(path, optimize=True)


def _legend(pen: ImageDraw.ImageDraw, legend: Mapping[str, Colour]) -> None:
    left, face = GAP, font(12)
    for text, colour in legend.items():
        pen.rectangle((left, 41, left + 11, 52), fill=colour)
        pen.text((left + 17, 39), text, font=face, fill=FAINT)
        left += 17 + round(face.getlength(text)) + 22


def _with_note(small: Image.Image, text: str) -> Image.Image:
    pen, face = ImageDraw.Draw(small), font(13, bold=True)
    box = pen.textbbox((small.width // 2, small.height // 2), text, font=face, anchor="mm")
    pen.rectangle((box[0] - 6, box[1] - 4, box[2] + 6, box[3] + 4), fill=PAPER, outline=LINE)
    pen.text((small.width // 2, small.height // 2), text, font=face, fill=INK, anchor="mm")
    return small


def _words(pen: ImageDraw.ImageDraw, row: Row, *, left: int, top: int) -> int:
    """Writes the words of a row; returns the y below them."""
    y = write(pen, (left, top), row.title, width=WORDS, size=14, bold=True, max_lines=4) + 6
    for line in row.lines:
        y = write(pen, (left, y), line, width=WORDS, size=12, colour=INK, max_lines=3) + 4
    return y


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    smooth = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth > 0.5, dtype=np.bool_)
