"""A cache of drawn scenes, so that a training step costs no drawing: chunks of arrays in a folder.

A chunk holds consecutive scenes of one split and is made by whoever needs it first; it is a pure function of its number.
Letters: N scenes of a chunk; S side of the canvas (128); I side of what the networks see (64).
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seglm.dataset.toy.scenes import GRID, Scene, Split, draw, make_scene, visible_masks

CHUNK = 1000  # scenes
SIDE = 64  # px, the image side of both bases; area and detail are a compromise with CPU time
NOBODY = 255  # in the map of owners: ground
FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)  # CLIP's and SAM's own ways to shrink


@dataclass(frozen=True)
class DrawnScenes:
    """Some scenes with their pictures."""

    scenes: tuple[Scene, ...]
    """the scenes themselves"""
    pictures: NDArray[np.uint8]
    """[N, 2, I, I, 3] RGB, shrunk by each of FILTERS"""
    owners: NDArray[np.uint8]
    """[N, S, S], index of the thing that is seen at a pixel, NOBODY on the ground"""

    def first(self, count: int) -> "DrawnScenes":
        """The first `count` of them."""
        return DrawnScenes(self.scenes[:count], self.pictures[:count], self.owners[:count])


def chunk_of_scenes(number: int, *, split: Split, cache: Path) -> DrawnScenes:
    """A chunk, from the cache or made now."""
    path = cache / f"scenes_{split}_{number:04d}.npz"
    scenes = tuple(make_scene(number * CHUNK + i, split=split) for i in range(CHUNK))
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        halfway = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(
            halfway,
            pictures=np.stack([shrunk(scene) for scene in scenes]),
            owners=np.stack([owner_map(s) for s in scenes]),
        )
        halfway.replace(path)
    with np.load(path) as stored:
        return DrawnScenes(scenes, stored["pictures"], stored["owners"])


class SceneCache:
    """Scenes by their running number, as if all were in memory."""

    def __init__(self, *, split: Split, cache: Path, chunks: int) -> None:
        """chunks: after so many the scenes come round again."""
        self.chunks = chunks
        self._chunk = lru_cache(maxsize=3)(lambda number: chunk_of_scenes(number, split=split, cache=cache))

    def pick(self, first: int, count: int) -> DrawnScenes:
        """`count` scenes from running number `first` on."""
        places = [divmod((first + i) % (self.chunks * CHUNK), CHUNK) for i in range(count)]
        found = [(self._chunk(number), row) for number, row in places]
        return DrawnScenes(
            tuple(chunk.scenes[row] for chunk, row in found),
            np.stack([chunk.pictures[row] for chunk, row in found]),
            np.stack([chunk.owners[row] for chunk, row in found]),
        )


def owner_map(scene: Scene) -> NDArray[np.uint8]:
    """Which thing is seen at each pixel: uint8 [H, W], NOBODY on the ground."""
    owners = np.full((scene.height, scene.width), NOBODY, dtype=np.uint8)
    for index, mask in enumerate(visible_masks(scene)):
        owners[mask] = index
    return owners


def shrunk(scene: Scene) -> NDArray[np.uint8]:
    """The picture as each of FILTERS shrinks it: uint8 [2, I, I, 3]."""
    picture = Image.fromarray(draw(scene))
    assert picture.size == (GRID, GRID), picture.size
    return np.stack([np.asarray(picture.resize((SIDE, SIDE), way)) for way in FILTERS])
