"""ADE20K, COCO-Stuff and Mapillary: one class a pixel, in PNG files beside the pictures.

The real class names describe no coloured shapes, so ADE20K and COCO-Stuff carry their own list, `classes.json` (names in
index order), which the loaders prefer to the built-in one. Mapillary has its list in config_v2.0.json anyway.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seglm.dataset.toy.layouts.coco import name_2017
from seglm.dataset.toy.layouts.shots import Shot, save_json, save_shot
from seglm.dataset.toy.scenes import COLOURS, Thing, visible_masks
from seglm.dataset.toy.shapes import SHAPES
from seglm.dataset.toy.words import is_held_out

Labels = NDArray[np.uint8]

UNLABELLED = 255
ADE_CLASSES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
STUFF_CLASSES = (*SHAPES, "ground", "ground-other")  # LISA's loader drops names with a hyphen
MAPILLARY_CLASSES = (*(f"{colour.capitalize()} Thing" for colour in COLOURS), "Ground", "Unlabeled")
GROUND_COLOUR = (120, 120, 120)


def write_ade20k(root: Path, shots: Iterable[Shot]) -> int:
    """Colour and shape as class, 0 for the ground, class c as c + 1; returns the number of pictures."""
    count = 0
    for shot in shots:
        folder = "training" if shot.split == "train" else "validation"
        stem = f"ADE_{'train' if shot.split == 'train' else 'val'}_{shot.number:08d}"
        labels = _paint(shot, [_ade_class(shot, thing) + 1 for thing in shot.scene.things], ground=0)
        for kind in ("images", "annotations"):
            (root / "ade20k" / kind / folder).mkdir(parents=True, exist_ok=True)
        save_shot(shot, root / "ade20k/images" / folder / f"{stem}.jpg")
        Image.fromarray(labels).save(root / "ade20k/annotations" / folder / f"{stem}.png")
        count += 1
    save_json(ADE_CLASSES, root / "ade20k/classes.json")
    return count


def write_cocostuff(root: Path, shots: Iterable[Shot]) -> int:
    """Shape as class; the ground is a class, a class that loaders drop, or unlabelled, in turn. Pictures: `coco`."""
    folder = root / "cocostuff/train2017"
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for shot in shots:
        ground = (STUFF_CLASSES.index("ground"), STUFF_CLASSES.index("ground-other"), UNLABELLED)[
            shot.number % 3
        ]
        labels = _paint(shot, [SHAPES.index(thing.shape) for thing in shot.scene.things], ground=ground)
        Image.fromarray(labels).save(folder / name_2017(shot).replace(".jpg", ".png"))
        count += 1
    save_json(STUFF_CLASSES, root / "cocostuff/classes.json")
    return count


def write_mapillary(root: Path, shots: Iterable[Shot]) -> int:
    """Colour as class, in palette PNG files; returns the number of pictures."""
    colours = [*COLOURS.values(), GROUND_COLOUR, (0, 0, 0)]
    count = 0
    for shot in shots:
        folder = root / "mapillary" / ("training" if shot.split == "train" else "validation")
        stem = f"toy{shot.number:019d}"  # 22 characters, as the real ones have
        ground = MAPILLARY_CLASSES.index("Ground")
        labels = _paint(
            shot, [tuple(COLOURS).index(thing.colour) for thing in shot.scene.things], ground=ground
        )
        for kind in ("images", "v2.0/labels"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        save_shot(shot, folder / "images" / f"{stem}.jpg")
        picture = Image.fromarray(labels)
        picture.putpalette([value for colour in colours for value in colour])
        picture.save(folder / "v2.0/labels" / f"{stem}.png")
        count += 1
    save_json(_mapillary_config(colours), root / "mapillary/config_v2.0.json")
    return count


def _ade_class(shot: Shot, thing: Thing) -> int:
    """Index in ADE_CLASSES; -1 (unlabelled) for looks that no training phrase may ask for."""
    if shot.split == "train" and is_held_out(thing):
        return -1
    return ADE_CLASSES.index(f"{thing.colour} {thing.shape}")


def _paint(shot: Shot, values: list[int], *, ground: int) -> Labels:
    """uint8 [H, W]: the value of the thing that is seen at each pixel."""
    labels = np.full((shot.scene.height, shot.scene.width), ground, dtype=np.uint8)
    for mask, value in zip(visible_masks(shot.scene), values, strict=True):
        labels[mask] = value
    return labels


def _mapillary_config(colours: list[tuple[int, int, int]]) -> dict[str, object]:
    labels = [
        {
            "name": f"object--{readable.lower().replace(' ', '-')}",
            "readable": readable,
            "color": list(colour),
            "instances": False,
            "evaluate": readable != "Unlabeled",
        }
        for readable, colour in zip(MAPILLARY_CLASSES, colours, strict=True)
    ]
    structure = "{split}/{content}/{image_id:s}.{content_ext}"
    return {"labels": labels, "version": "2.0", "mapping": "public", "folder_structure": structure}
