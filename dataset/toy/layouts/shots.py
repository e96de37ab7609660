"""A scene with its place in the world, and what every layout needs of it."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from seglm.dataset.toy.language import Phrase, phrases
from seglm.dataset.toy.scenes import Mask, Picture, Scene, Split, draw, make_scene, parts, visible_masks

JPEG_QUALITY = (
    95  # with full chroma: a lower one smears colours over the edges and the masks are no longer true
)
SEEDS_PER_WORLD = 100_000_000  # scene seeds of one world seed; far more than the pools use


@dataclass(frozen=True)
class Shot:
    """One scene of a world."""

    number: int
    """unique in the world; file names are made of it"""
    split: Split
    """of the scene and of the language"""
    scene: Scene

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of this scene for one purpose, e.g. a data set's name; independent of all other purposes."""
        return np.random.default_rng([self.scene.seed, zlib.crc32(purpose.encode())])


def make_shot(number: int, *, world_seed: int, split: Split, size: int) -> Shot:
    """The shot of a number: a pure function of its arguments; `size` in pixels."""
    return Shot(number, split, make_scene(world_seed * SEEDS_PER_WORLD + number, size=size, split=split))


def save_picture(picture: Picture, path: Path) -> None:
    """Write uint8 [H, W, 3] RGB as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    if not cv2.imwrite(str(path), picture[..., ::-1], options):
        raise RuntimeError(
            f"{path}: the picture was not written; is the folder there, and is there room on the disk?"
        )


def save_shot(shot: Shot, path: Path) -> None:
    """Draw the shot and write it as JPEG."""
    save_picture(draw(shot.scene), path)


def save_json(value: object, path: Path) -> None:
    """Write compact JSON, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")


def positives(shot: Shot, purpose: str, *, rounds: int = 1) -> list[Phrase]:
    """Phrases that mean something, but not everything, in the picture; none twice.

    Who marks everything without reading must not be right by that. More `rounds` find more wordings of the same things.
    """
    rng = shot.rng(purpose)
    found: dict[str, Phrase] = {}
    for _ in range(rounds):
        for phrase in phrases(shot.scene, rng, split=shot.split):
            is_everything = phrase.part is None and len(phrase.targets) == len(shot.scene.things)
            if phrase.targets and not is_everything:
                found.setdefault(phrase.text, phrase)
    return list(found.values())


def mask_of(scene: Scene, phrase: Phrase) -> Mask:
    """What a phrase asks for, all targets together: bool [H, W]."""
    if phrase.part is not None and phrase.targets:
        return parts(scene, phrase.targets[0])[phrase.part]
    return np.asarray(visible_masks(scene)[list(phrase.targets)].any(axis=0))
