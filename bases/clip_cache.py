"""A cache of drawn clips, so that a training step costs no drawing: chunks of arrays in a folder, as of scenes.

Letters: T frames of a clip, M most frames of any; P patches; I side of what the networks see (64).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seglm.bases.patch_lessons import filled_by
from seglm.bases.scene_cache import FILTERS, NOBODY, SIDE
from seglm.dataset.toy.asking import NOWHERE, spoken_spot
from seglm.dataset.toy.clips import Clip, draw_frames, make_clip, seen
from seglm.dataset.toy.scenes import Mask, Split

CHUNK = 200  # clips
MOST_THINGS = 5
FIRST_SEED = 50_000_000  # of the clips that the bases watch; a toy world's own begin at 0


@dataclass(frozen=True)
class DrawnClip:
    """A clip with its pictures."""

    clip: Clip
    """the clip itself"""
    pictures: NDArray[np.uint8]
    """[T, I, I, 3] RGB, shrunk as CLIP does it"""
    filled: NDArray[np.float32]
    """[T, P, N] share of each patch that each thing fills"""
    spots: Sequence[Sequence[str]]
    """[T][N] the cell in which each thing is, NOWHERE if nothing of it is seen"""


class ClipCache:
    """Clips by their running number, as if all were in memory."""

    def __init__(self, *, split: Split, cache: Path, chunks: int) -> None:
        """chunks: after so many the clips come round again."""
        self.chunks = chunks
        self._chunk = lru_cache(maxsize=2)(lambda number: chunk_of_clips(number, split=split, cache=cache))

    def pick(self, first: int, count: int) -> tuple[DrawnClip, ...]:
        """`count` clips from running number `first` on."""
        places = [divmod((first + i) % (self.chunks * CHUNK), CHUNK) for i in range(count)]
        return tuple(self._chunk(number)[row] for number, row in places)


def chunk_of_clips(number: int, *, split: Split, cache: Path) -> tuple[DrawnClip, ...]:
    """A chunk, from the cache or made now."""
    path = cache / f"clips_{split}_{number:04d}.npz"
    clips = [make_clip(FIRST_SEED + number * CHUNK + i, split=split) for i in range(CHUNK)]
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        drawn = [drawn_clip(clip) for clip in clips]
        halfway = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(
            halfway,
            pictures=np.concatenate([one.pictures for one in drawn]),
            filled=np.concatenate([_padded(one.filled) for one in drawn]),
            spots=np.array([" ".join(spots) for one in drawn for spots in one.spots]),
        )
        halfway.replace(path)
    with np.load(path) as stored:
        pictures, filled, spots = stored["pictures"], stored["filled"], stored["spots"]
    chunk, first = [], 0
    for clip in clips:
        part = slice(first, first := first + len(clip.scenes))
        shares = filled[part, :, : len(clip.things)].astype(np.float32)
        chunk.append(DrawnClip(clip, pictures[part], shares, [str(line).split(" ") for line in spots[part]]))
    return tuple(chunk)


def drawn_clip(clip: Clip) -> DrawnClip:
    """A clip drawn now."""
    masks = [seen(scene) for scene in clip.scenes]
    filled = [filled_by(_owners(frame), len(clip.things)) for frame in masks]
    pictures = [
        np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), FILTERS[0])) for picture in draw_frames(clip)
    ]
    spots = [[spoken_spot(mask) if mask.any() else NOWHERE for mask in frame] for frame in masks]
    return DrawnClip(clip, np.stack(pictures), np.stack(filled).astype(np.float32), spots)


def _owners(masks: Mask) -> NDArray[np.uint8]:
    owners = np.full(masks.shape[1:], NOBODY, dtype=np.uint8)
    for index, mask in enumerate(masks):
        owners[mask] = index
    return owners


def _padded(filled: NDArray[np.float32]) -> NDArray[np.float16]:
    """[T, P, MOST_THINGS]."""
    return np.pad(filled, ((0, 0), (0, 0), (0, MOST_THINGS - filled.shape[2]))).astype(np.float16)
