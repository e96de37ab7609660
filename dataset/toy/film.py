"""Clips to look at: a contact sheet of strips over time, GIFs, and mp4 files where PyAV is installed."""

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seglm.dataset.toy.clips import Clip, draw_frames, seen
from seglm.dataset.toy.scenes import Mask, Picture
from seglm.dataset.toy.words import Phrase
from seglm.utils.film import film

FPS = 8  # at which a clip of 16 frames takes two seconds
COLUMNS = 8  # frames of a strip
LINE = 17  # px of a line of text
GAP = 3  # px between frames
INKS = ((255, 40, 160), (0, 200, 255))  # of the two phrases of a strip; no thing has these colours
VEIL = 0.2  # how much of a phrase's ink covers its targets; more would hide what colour they have
GREY = (90, 90, 90)


def contact_sheet(shown: Sequence[tuple[Clip, Sequence[Phrase]]]) -> Picture:
    """Strips of clips, one below the other: uint8 [H, W, 3] RGB. At most two phrases a clip; their targets are coloured."""
    strips = [strip(clip, phrases) for clip, phrases in shown]
    width = max(one.shape[1] for one in strips)
    padded = [np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0)), constant_values=255) for one in strips]
    return np.concatenate(padded)


def strip(clip: Clip, phrases: Sequence[Phrase]) -> Picture:
    """Frames from first to last, the targets of each phrase in its ink, the phrases above: uint8 [H, W, 3] RGB."""
    picked = {round(i) for i in np.linspace(0, len(clip.scenes) - 1, COLUMNS)}
    pictures = [
        coloured(clip, n, picture, phrases) for n, picture in enumerate(draw_frames(clip)) if n in picked
    ]
    pictures = [np.pad(one, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for one in pictures]
    row = np.concatenate(pictures, axis=1)
    inks = [INKS[i % len(INKS)] if phrase.targets else GREY for i, phrase in enumerate(phrases)]
    lines = [(f"{phrase.kind}: {phrase.text}", ink) for phrase, ink in zip(phrases, inks)]
    head = np.full((LINE * len(lines) + 6, row.shape[1], 3), 255, dtype=np.uint8)
    for number, (line, ink) in enumerate(lines, start=1):
        place = (3, LINE * number - 2)
        cv2.putText(head, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, 1, cv2.LINE_AA)
    return np.concatenate([head, row])


def coloured(clip: Clip, frame: int, picture: Picture, phrases: Sequence[Phrase]) -> Picture:
    """A copy of a frame's picture in which the targets of each phrase are veiled and outlined in its ink."""
    masks, picture = seen(clip.scenes[frame]), picture.copy()
    for phrase, ink in zip(phrases, INKS):
        picture = _veiled(picture, np.asarray(masks[list(phrase.targets)].any(axis=0)), ink)
    return picture


def save_gif(pictures: Iterable[Picture], path: Path) -> None:
    """An endless GIF; every picture is uint8 [H, W, 3] RGB."""
    first, *rest = (
        Image.fromarray(picture).quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        for picture in pictures
    )
    first.save(path, save_all=True, append_images=rest, duration=1000 // FPS, loop=0)


def can_write_mp4() -> bool:
    """True if PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def save_mp4(pictures: Iterable[Picture], path: Path) -> None:
    """An mp4 file with h264 in it; every picture is uint8 [H, W, 3] RGB with even sides.

    Raises RuntimeError if PyAV is not installed, see `can_write_mp4`.
    """
    if not can_write_mp4():
        raise RuntimeError(f"{path}: mp4 files need PyAV, which is not installed; run: pip install av")
    with film(path, rate=FPS, is_repeatable=True) as add:
        for picture in pictures:
            add(picture)


def _veiled(picture: Picture, mask: Mask, ink: tuple[int, int, int]) -> NDArray[np.uint8]:
    tint = np.asarray(ink, dtype=np.float32)
    picture[mask] = ((1 - VEIL) * picture[mask] + VEIL * tint).astype(np.uint8)
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture, found, -1, ink, 2))
