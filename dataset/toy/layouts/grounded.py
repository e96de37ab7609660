"""Captions with masked phrases as GLaMM has them: GranD-f, OpenPSG, RefCOCOg and Flickr30k, and GranD-f's val and test."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seglm.dataset.masks import run_lengths
from seglm.dataset.toy.layouts.coco import name_2014, name_2017
from seglm.dataset.toy.layouts.outlines import box_of, thing_polygons
from seglm.dataset.toy.layouts.shots import Shot, save_json, save_shot
from seglm.dataset.toy.scenes import Mask, visible_masks
from seglm.dataset.toy.telling import Told, grounded_caption

FOLDER = Path("glamm_data")
ANNOTATIONS, IMAGES = FOLDER / "annotations", FOLDER / "images"
THINGS_PER_IMAGE = 10  # room for annotation ids


def write_grandf(root: Path, shots: Iterable[Shot]) -> int:
    """GranD-f's training captions; returns their number."""
    entries = []
    for shot, told in _told(root / IMAGES / "grandf/train", shots, "grandf", _sa1b):
        entries.append(_groundings(shot, told, _sa1b(shot)))
    save_json(entries, root / ANNOTATIONS / "GranDf_HA_GCG_train.json")
    return len(entries)


def write_openpsg(root: Path, shots: Iterable[Shot]) -> int:
    """OpenPSG's captions, in the same layout; returns their number."""
    entries = []
    for shot, told in _told(root / IMAGES / "coco2017/train2017", shots, "openpsg", name_2017):
        entries.append(_groundings(shot, told, f"train2017/{name_2017(shot)}"))
    save_json(entries, root / ANNOTATIONS / "OpenPsgGCG_train.json")
    return len(entries)


def write_refcocog(root: Path, shots: Iterable[Shot]) -> int:
    """RefCOCOg's captions: phrases without places, a ref for each thing; returns their number."""
    entries = []
    for shot, told in _told(root / IMAGES / "coco2014/train2014", shots, "refcocog_gcg", name_2014):
        masks = visible_masks(shot.scene)
        refs = [
            {
                "sentence": told.text[start:end],
                "bbox": box_of(masks[thing]),
                "segmentation": thing_polygons(shot.scene, thing),
            }
            for start, end, things in told.spans
            for thing in things
        ]
        entry = {"img_file_name": name_2014(shot), "caption": f'"{told.text}"', "refs": refs}
        entries.append({str(shot.number): entry})
    save_json(entries, root / ANNOTATIONS / "RefCOCOg_GCG_train.json")
    return len(entries)


def write_flickr(root: Path, shots: Iterable[Shot]) -> int:
    """Flickr30k's captions: an annotation for each thing; returns their number."""
    images, annotations = [], []
    for shot, told in _told(root / IMAGES / "flickr30k/Flickr30K", shots, "flickr_gcg", _flickr):
        masks = visible_masks(shot.scene)
        side = {"height": shot.scene.height, "width": shot.scene.width}
        images.append({"id": shot.number, "file_name": _flickr(shot), "caption": told.text, **side})
        for start, end, things in told.spans:
            for thing in things:
                annotations.append(
                    {
                        **_annotation(shot, thing, masks[thing]),
                        "tokens_positive": [[start, end]],
                        "sam_mask": run_lengths(masks[thing]),
                    }
                )
    save_json(
        {"images": images, "annotations": annotations}, root / ANNOTATIONS / "flickr_mergedGT_GCG_train.json"
    )
    return len(images)


def write_truth(root: Path, split: str, shots: Iterable[Shot]) -> int:
    """GranD-f's val or test: captions and masks in two files; returns the number of captions."""
    images, captions, masks = [], [], []
    for shot, told in _told(root / IMAGES / "grandf/val_test", shots, f"grandf {split}", _sa1b):
        key = _sa1b(shot).removesuffix(".jpg")
        seen = visible_masks(shot.scene)
        images.append({"id": key, "file_name": key, "height": shot.scene.height, "width": shot.scene.width})
        labels = [told.text[start:end] for start, end, _ in told.spans]
        captions.append({"id": shot.number, "image_id": key, "caption": told.text, "labels": labels})
        for number, (_, _, things) in enumerate(told.spans):
            union = np.asarray(seen[list(things)].any(axis=0))
            masks.append(
                {**_annotation(shot, number, union), "image_id": key, "segmentation": run_lengths(union)}
            )
    folder = root / ANNOTATIONS / "gcg_val_test"
    categories = [{"id": 1, "name": "object"}]
    save_json({"images": images, "annotations": captions}, folder / f"{split}_gcg_coco_caption_gt.json")
    content = {"images": images, "annotations": masks, "categories": categories}
    save_json(content, folder / f"{split}_gcg_coco_mask_gt.json")
    return len(captions)


def _told(folder: Path, shots: Iterable[Shot], purpose: str, name: Any) -> Iterator[tuple[Shot, Told]]:
    """Writes each picture and gives its caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for shot in shots:
        save_shot(shot, folder / name(shot))
        yield shot, grounded_caption(shot.scene, shot.rng(purpose), split=shot.split)


def _groundings(shot: Shot, told: Told, image: str) -> dict[str, Any]:
    masks = visible_masks(shot.scene)
    groundings = {
        told.text[start:end]: {
            "token_positives": [start, end],
            "rle_masks": [run_lengths(masks[i]) for i in things],
        }
        for start, end, things in told.spans
    }
    side = {"height": shot.scene.height, "width": shot.scene.width}
    told_of = {"file_name": image, **side, "image_id": Path(image).stem, "caption": told.text}
    return {**told_of, "groundings": groundings}


def _annotation(shot: Shot, number: int, mask: Mask) -> dict[str, Any]:
    return {
        "id": shot.number * THINGS_PER_IMAGE + number,
        "image_id": shot.number,
        "category_id": 1,
        "bbox": box_of(mask),
        "area": int(mask.sum()),
        "iscrowd": 0,
    }


def _sa1b(shot: Shot) -> str:
    return f"sa_{shot.number}.jpg"


def _flickr(shot: Shot) -> str:
    return f"{shot.number}.jpg"
