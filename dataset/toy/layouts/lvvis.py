"""LV-VIS: instances in the form of YouTube-VIS, and for the train split the expressions and masks that VISA adds.

A category is a colour and a shape; those that no training phrase may ask for are the novel ones. An expression is the name of
a category and means all things of it.
"""

from collections.abc import Iterable
from pathlib import Path

from pycocotools import mask as coco_mask

from seglm.dataset.toy.layouts.shots import save_json
from seglm.dataset.toy.layouts.takes import Json, Take, codes_of, frame_names, save_frames
from seglm.dataset.toy.scenes import COLOURS, Thing
from seglm.dataset.toy.shapes import SHAPES
from seglm.dataset.toy.words import HELD_OUT_LOOKS

FOLDER = Path("lvvis")
CATEGORIES = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)


def write_lvvis(root: Path, split: str, takes: Iterable[Take]) -> int:
    """Write one split, train or val; returns the number of instances."""
    folder = root / FOLDER / split
    videos: list[Json] = []
    annotations: list[Json] = []
    expressions: Json = {}
    mask_dict: Json = {}
    for take in takes:
        name, first, codes = f"{take.number:05d}", len(annotations), codes_of(take)
        save_frames(take, folder / "JPEGImages" / name)
        videos.append(_video(take, name, len(videos) + 1))
        for of_thing, thing in zip(codes, take.clip.things):
            annotations.append(_annotation(take, thing, of_thing, len(annotations) + 1, len(videos)))
        expressions[name] = {
            "expressions": _names(take, first),
            "vid_id": len(videos) - 1,
            "frames": frame_names(take),
        }
        mask_dict |= {str(first + number): of_thing for number, of_thing in enumerate(codes)}
    header: Json = {"info": {}, "licenses": [], "videos": videos, "annotations": annotations}
    save_json(header | {"categories": _categories()}, root / FOLDER / f"{split}_instances.json")
    if split == "train":
        save_json({"videos": expressions}, folder / "meta_expressions.json")
        save_json(mask_dict, folder / "mask_dict.json")
    return len(annotations)


def _video(take: Take, name: str, number: int) -> Json:
    height, width = take.size
    return {
        "id": number,
        "height": height,
        "width": width,
        "length": take.num_frames,
        "file_names": [f"{name}/{frame}.jpg" for frame in frame_names(take)],
    }


def _annotation(take: Take, thing: Thing, codes: list[Json | None], number: int, video: int) -> Json:
    height, width = take.size
    return {
        "id": number,
        "video_id": video,
        "category_id": CATEGORIES.index((thing.colour, thing.shape)) + 1,
        "segmentations": codes,
        "areas": [None if code is None else int(coco_mask.area(code)) for code in codes],
        "bboxes": [None if code is None else [float(x) for x in coco_mask.toBbox(code)] for code in codes],
        "iscrowd": 0,
        "height": height,
        "width": width,
        "length": take.num_frames,
    }


def _names(take: Take, first: int) -> Json:
    """The categories of a video with their things."""
    members: dict[tuple[str, str], list[int]] = {}
    for number, thing in enumerate(take.clip.things):
        members.setdefault((thing.colour, thing.shape), []).append(number)
    return {
        str(n): {"exp": "_".join(look), "obj_id": things, "anno_id": [first + thing for thing in things]}
        for n, (look, things) in enumerate(members.items())
    }


def _categories() -> list[Json]:
    """Partition 0 or 1: base, 2 or 3: novel."""
    return [
        {
            "id": number,
            "name": "_".join(look),
            "freq": 1,
            "partition": number % 2 + (2 if look in HELD_OUT_LOOKS else 0),
        }
        for number, look in enumerate(CATEGORIES, start=1)
    ]
