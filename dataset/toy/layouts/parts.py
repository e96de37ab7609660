"""PACO-LVIS and PASCAL-Part: COCO-style annotations of things and of their parts.

LISA's loader asks for a class and draws one annotation of it, so a thing is written only where its class names it alone.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from seglm.dataset.masks import run_lengths
from seglm.dataset.toy.layouts.coco import name_2017
from seglm.dataset.toy.layouts.outlines import box_of, edge_polygons, plain_run_lengths
from seglm.dataset.toy.layouts.shots import Shot, save_json, save_shot
from seglm.dataset.toy.scenes import COLOURS, Mask, parts, visible_masks
from seglm.dataset.toy.shapes import SHAPES, part_names
from seglm.dataset.toy.words import describe, fitting, is_held_out

PACO_FILE = Path("vlpart/paco/annotations/paco_lvis_v1_train.json")
PASCAL_FILE = Path("vlpart/pascal_part/train.json")
PASCAL_IMAGES = Path("vlpart/pascal_part/VOCdevkit/VOC2010/JPEGImages")
SUFFIX = "_(toy)"  # as in the real "car_(automobile)"; loaders cut it off

Named = tuple[int, str, Mask]
"""index of the thing, name of the part or "" for the whole, bool [H, W]"""


def write_paco(root: Path, shots: Iterable[Shot]) -> int:
    """Shapes and their parts; things with plain run lengths, parts with compressed ones, as the real file has both.

    Returns the number of annotations. Pictures: `coco`.
    """
    wholes = [f"{shape}{SUFFIX}" for shape in SHAPES]
    part_classes = [f"{shape}:{part}" for shape in SHAPES for part in part_names(shape)]
    ids = {name: number for number, name in enumerate((*wholes, *part_classes), start=1)}
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for shot in shots:
        found = list(_named(shot, ("shape",)))
        if found:
            images.append({"id": shot.number, "file_name": f"train2017/{name_2017(shot)}", **_sides(shot)})
        whole_id = 0
        for index, part, mask in found:
            shape = shot.scene.things[index].shape
            record = _annotation(
                shot, ids[f"{shape}:{part}" if part else f"{shape}{SUFFIX}"], mask, annotations
            )
            whole_id = whole_id if part else len(annotations) + 1
            coded = run_lengths(mask) if part else plain_run_lengths(mask)
            annotations.append({**record, "segmentation": coded, "obj_ann_id": whole_id, "attribute_ids": []})
    kinds = {name: "PART" if ":" in name else "OBJECT" for name in ids}
    categories = [{"supercategory": kinds[name], "id": number, "name": name} for name, number in ids.items()]
    content = {
        "info": {},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    save_json(content, root / PACO_FILE)
    return len(annotations)


def write_pascal_part(root: Path, shots: Iterable[Shot]) -> int:
    """Parts of things named by colour and shape, as polygons, with their pictures; returns the number of annotations."""
    names = [
        f"{colour} {shape}:{part}" for colour in COLOURS for shape in SHAPES for part in part_names(shape)
    ]
    ids = {name: number for number, name in enumerate(names, start=1)}
    (root / PASCAL_IMAGES).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for shot in shots:
        found = [named for named in _named(shot, ("colour", "shape")) if named[1]]
        if not found:
            continue
        file_name = f"toy_{shot.number:09d}.jpg"
        save_shot(shot, root / PASCAL_IMAGES / file_name)
        images.append({"id": shot.number, "file_name": file_name, **_sides(shot)})
        for index, part, mask in found:
            thing = shot.scene.things[index]
            record = _annotation(shot, ids[f"{thing.colour} {thing.shape}:{part}"], mask, annotations)
            annotations.append({**record, "segmentation": edge_polygons(mask), "iscrowd": 0})
    categories = [{"id": number, "name": name, "supercategory": "PART"} for name, number in ids.items()]
    save_json({"images": images, "annotations": annotations, "categories": categories}, root / PASCAL_FILE)
    return len(annotations)


def _named(shot: Shot, attributes: tuple[str, ...]) -> Iterator[Named]:
    """Things that these attributes name alone, each followed by its parts; held-out looks stay out of training."""
    masks = visible_masks(shot.scene)
    for index, thing in enumerate(shot.scene.things):
        is_alone = fitting(shot.scene, describe(thing, attributes)) == (index,)
        if is_alone and not (shot.split == "train" and is_held_out(thing)):
            yield index, "", masks[index]
            for part, mask in parts(shot.scene, index).items():
                yield index, part, mask


def _sides(shot: Shot) -> dict[str, int]:
    return {"height": shot.scene.height, "width": shot.scene.width}


def _annotation(shot: Shot, category: int, mask: Mask, earlier: list[dict[str, object]]) -> dict[str, object]:
    """What both files say of an annotation; ids count from 1."""
    number = len(earlier) + 1
    record = {"id": number, "image_id": shot.number, "category_id": category}
    return {**record, "bbox": box_of(mask), "area": float(mask.sum())}
