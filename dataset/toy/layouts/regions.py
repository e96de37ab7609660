"""Osprey-724K: five files of pictures with regions, about which somebody asks or which are described; and RefCOCOg's captions of
regions, by which GLaMM and Sa2VA are scored."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from seglm.dataset.masks import run_lengths
from seglm.dataset.toy.asking import LOOK_QUESTIONS, spoken_spot
from seglm.dataset.toy.layouts.coco import name_2014, name_2017
from seglm.dataset.toy.layouts.conversations import dialogue
from seglm.dataset.toy.layouts.outlines import box_of, edge_polygons, thing_polygons
from seglm.dataset.toy.layouts.shots import Shot, save_json, save_shot
from seglm.dataset.toy.scenes import parts, parts_seen, visible_masks
from seglm.dataset.toy.shapes import SHAPES
from seglm.dataset.toy.telling import LOOK
from seglm.dataset.toy.words import choose, describe, pick

FOLDER = Path("osprey-724k")
FILES = {
    "conversation": "osprey_conversation.json",
    "description": "osprey_detail_description.json",
    "short": "osprey_short_form.json",
    "part": "osprey_part_level.json",
    "positive_negative": "osprey_lvis_positive_negative.json",
}
CAPTIONS = Path("region_caption/refcocog/finetune_refcocog_val_with_mask.json")
CAPTIONED_IMAGES = Path("glamm_data/images/coco2014/train2014")
MAX_TURNS = 3
PART_QUESTIONS = ("Which part is <region1>?", "What part does <region1> show?", "Name the part in <region1>.")
IS_QUESTIONS = ("Is <region1> a {d}?", "Does <region1> show a {d}?", "Would you call <region1> a {d}?")
Turns = list[tuple[str, str]]


def write_regions(root: Path, shots: Iterable[Shot]) -> dict[str, int]:
    """All five files about the same pictures; returns their numbers of entries."""
    images = root / FOLDER / "coco/train2017"
    images.mkdir(parents=True, exist_ok=True)
    entries: dict[str, list[dict[str, Any]]] = {name: [] for name in FILES}
    for shot in shots:
        save_shot(shot, images / name_2017(shot))
        for name, make in MAKERS.items():
            if (told := make(shot, shot.rng(f"osprey {name}"))) is not None:
                side = {"height": shot.scene.height, "width": shot.scene.width}
                entry = {"id": f"{name}-{shot.number}", "file_name": name_2017(shot), **side, **told}
                entries[name].append(entry)
    for name, listed in entries.items():
        save_json(listed, root / FOLDER / "Osprey-724K" / FILES[name])
    return {name: len(listed) for name, listed in entries.items()}


def write_region_captions(root: Path, shots: Iterable[Shot]) -> int:
    """Two captions of every thing, each an "image" with an annotation of the same id; returns their number."""
    (root / CAPTIONED_IMAGES).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for shot in shots:
        save_shot(shot, root / CAPTIONED_IMAGES / name_2014(shot))
        about = {"file_name": name_2014(shot), "height": shot.scene.height, "width": shot.scene.width}
        for thing in range(len(shot.scene.things)):
            for names in (LOOK, ("colour", "shape")):
                key = len(images) + 1
                caption = f"a {describe(shot.scene.things[thing], names).say()}"
                images.append({"id": key, "original_id": shot.number, "caption": caption, **about})
                mask = {"segmentation": thing_polygons(shot.scene, thing)}
                annotations.append({"id": key, "image_id": key, "category_id": 1, **mask})
    save_json({"images": images, "annotations": annotations}, root / CAPTIONS)
    return len(images)


def _regions(shot: Shot, order: Iterable[int]) -> list[dict[str, Any]]:
    """Annotations of things in an order; every other one as run lengths, as the real file has both."""
    masks = visible_masks(shot.scene)
    return [
        {
            "bbox": box_of(masks[thing]),
            "segmentation": run_lengths(masks[thing]) if number % 2 else thing_polygons(shot.scene, thing),
        }
        for number, thing in enumerate(order)
    ]


def _conversation(shot: Shot, rng: np.random.Generator) -> dict[str, Any]:
    order = rng.permutation(len(shot.scene.things)).tolist()
    turns = []
    for _ in range(min(MAX_TURNS, len(order))):
        number = int(rng.integers(len(order)))
        attribute = choose(tuple(LOOK_QUESTIONS), rng)
        question = pick(LOOK_QUESTIONS[attribute], rng, split=shot.split)
        value = getattr(shot.scene.things[order[number]], attribute)
        answer = f"It is a {value}." if attribute == "shape" else f"It is {value}."
        turns.append((question.replace("the {d}", f"<region{number + 1}>"), answer))
    return {"conversations": dialogue(turns, "<image>\n"), "annotation": _regions(shot, order)}


def _description(shot: Shot, rng: np.random.Generator) -> dict[str, Any]:
    order = rng.permutation(len(shot.scene.things)).tolist()
    masks = visible_masks(shot.scene)
    told = [
        f"<region{number + 1}>: A {describe(shot.scene.things[thing], LOOK).say()} at {spoken_spot(masks[thing])}."
        for number, thing in enumerate(order)
    ]
    return {"description": told, "annotation": _regions(shot, order)}


def _short(shot: Shot, rng: np.random.Generator) -> dict[str, Any]:
    thing, attribute = int(rng.integers(len(shot.scene.things))), choose(tuple(LOOK_QUESTIONS), rng)
    question = pick(LOOK_QUESTIONS[attribute], rng, split=shot.split).replace("the {d}", "<region1>")
    turns = [(question, str(getattr(shot.scene.things[thing], attribute)))]
    return {"conversations": dialogue(turns, "<image>\n"), "annotation": _regions(shot, [thing])}


def _part(shot: Shot, rng: np.random.Generator) -> dict[str, Any] | None:
    parted = [thing for thing in range(len(shot.scene.things)) if parts_seen(shot.scene, thing)]
    if not parted:
        return None
    thing = choose(parted, rng)
    part = choose(parts_seen(shot.scene, thing), rng)
    mask = parts(shot.scene, thing)[part]
    turns = [(pick(PART_QUESTIONS, rng, split=shot.split), part)]
    annotation = {"bbox": box_of(mask), "segmentation": edge_polygons(mask)}
    return {"conversations": dialogue(turns, "<image>\n"), "annotation": [annotation]}


def _positive_negative(shot: Shot, rng: np.random.Generator) -> dict[str, Any]:
    """Yes and no by a fair coin, the shape that is named drawn evenly: the words tell nothing."""
    shape, is_right = choose(SHAPES, rng), bool(rng.random() < 0.5)
    fitting = [i for i, thing in enumerate(shot.scene.things) if (thing.shape == shape) == is_right]
    if not fitting:  # the picture has no such thing: another word for one that it has, the coin stays
        fitting = list(range(len(shot.scene.things)))
    thing = choose(fitting, rng)
    own = shot.scene.things[thing].shape
    named = own if is_right else choose([one for one in SHAPES if one != own], rng)
    question = pick(IS_QUESTIONS, rng, split=shot.split).format(d=named)
    turns = [(question, "yes" if is_right else "no")]
    return {"conversations": dialogue(turns, "<image>\n"), "annotation": _regions(shot, [thing])}


MAKERS: dict[str, Callable[[Shot, np.random.Generator], dict[str, Any] | None]] = {
    "conversation": _conversation,
    "description": _description,
    "short": _short,
    "part": _part,
    "positive_negative": _positive_negative,
}
