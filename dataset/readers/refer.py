"""RefCOCO, RefCOCO+, RefCOCOg, refCLEF, gRefCOCO, Ref-ZOM: sentences about annotated things, refs beside a COCO-like JSON.

A ref's `file_name` carries a suffix and is not the image's name; the image is found by its id. A sample is an image with all
its refs of a split, a target is a ref with all its sentences: the union of its annotations, or nothing where it has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seglm.dataset.description import Description, Scored
from seglm.dataset.faults import fault
from seglm.dataset.index import Record
from seglm.dataset.masks import Mask, decode
from seglm.dataset.readers.files import first_of, read_json
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.dataset.readers.unpickle import unpickle
from seglm.utils.types import Sample, Target

TRAIN2014 = (
    "refer_seg/images/mscoco/images/train2014",
    "images/mscoco/images/train2014",
    "refer_seg/images/train2014",
    "images/train2014",
    "coco/train2014",
    "train2014",
)
"""where the images of COCO's 2014 release are looked for below --dataset_dir, in this order"""
TRAINVAL2014 = (
    "refer_seg/images/mscoco/images/trainval2014",
    "images/mscoco/images/trainval2014",
    "refer_seg/images/trainval2014",
    "images/trainval2014",
    "coco/trainval2014",
    "trainval2014",
)
"""where images of COCO's train2014 and val2014 lie together"""
SAIAPR = ("refer_seg/images/saiapr_tc-12", "images/saiapr_tc-12", "refer_seg/saiapr_tc-12", "saiapr_tc-12")
REFS = ("refs({made_by}).p",)
"""names of the file of refs, `made_by` being the first half of a split; the first that is there is read"""
GREFS = ("grefs({made_by}).json", "grefs({made_by}).p")
"""the same of gRefCOCO"""
NO_TARGET = "none"
"""kind of the sentences of a ref without an annotation, where the file names no kind"""
SENTENCES = Scored(
    texts={
        "all": "one expression a sentence, all sentences of all refs",
        "first": "one expression a ref, its first sentence (KeySeg's rule; the field scores all sentences)",
    }
)
"""as sets are scored in which every expression has one referent"""
ANY_REFERENTS = Scored(
    texts={"all": "one expression a sentence, those without a referent too"},
    conventions=("gsva", "rela", "lisa", "plain"),
)
"""as those are in which some have several or none: by GSVA's convention, the official evaluator's is `rela`"""
NO_ANNOTATION = -1  # stands for none in gRefCOCO's lists of annotations; Ref-ZOM's are empty then


def open_refer(
    root: Path,
    split: str,
    about: Description,
    *,
    images: Sequence[str] = TRAIN2014,
    refs_names: Sequence[str] = REFS,
    is_coco: bool = True,
) -> Stills:
    """The images that have refs in a split such as `unc|testA`. Raises Fault if a file or folder is missing.

    images: folders in which the pictures may lie; refs_names: see `REFS`; is_coco: False if an image's id is not COCO's.
    """
    part = split.partition("|")[2]
    name = f"{about.name}|{split}"
    refs = _refs_file(root, split, about, refs_names)
    instances = refs.parent / "instances.json"
    pictures = first_of(root, images, name, about)
    list_records = partial(_records, refs, instances, part, is_coco)
    return open_stills(
        refs.parent, split, about, read_refer, list_records, files=(refs, instances), images=pictures
    )


def coco_ids(root: Path, split: str, about: Description, *, refs_names: Sequence[str] = REFS) -> set[int]:
    """COCO ids of the images of a split; the images themselves need not be there."""
    refs = _read_refs(_refs_file(root, split, about, refs_names), f"{about.name}|{split}")
    return {int(ref["image_id"]) for ref in refs if is_in(ref["split"], split.partition("|")[2])}


def is_in(split: str, part: str) -> bool:
    """Whether a ref of that split belongs to a part, by the rule of the refer API: testAB is in testA, testB and test."""
    if part in ("testA", "testB", "testC"):
        return "test" in split and part[-1] in split[4:]
    return part in split if part == "test" else split == part


def read_refer(record: Record, still: Still) -> Sample:
    size = (record["size"][0], record["size"][1])

    def masks(segmentation: Any, frames: Sequence[int]) -> Mask:
        try:
            mask = decode(segmentation, size)
        except ValueError as error:
            raise fault(still.key, still.path, f"malformed mask: {error}") from error
        return np.broadcast_to(mask, (len(frames), *size))

    return Sample(
        key=still.key,
        size=size,
        frame=lambda _: still.frame(size),
        targets=tuple(_target(ref, partial(masks, ref["mask"])) for ref in record["refs"]),
        path=str(still.path),
    )


def _refs_file(root: Path, split: str, about: Description, names: Sequence[str]) -> Path:
    """The first of the files that is there, or the first of all. Raises Fault if there is no folder for them."""
    folder = first_of(root, (f"refer_seg/{about.name}", about.name), f"{about.name}|{split}", about)
    files = [folder / name.format(made_by=split.partition("|")[0]) for name in names]
    return next((file for file in files if file.is_file()), files[0])


def _read_refs(path: Path, name: str) -> list[dict[str, Any]]:
    """The refs in a JSON file or a pickle. Raises Fault if it is neither or no list."""
    refs = read_json(path, name) if path.suffix == ".json" else unpickle(path, name)
    if not isinstance(refs, list):
        raise fault(name, path, f"is a list of refs, not a {type(refs).__name__}")
    return refs


def _target(ref: dict[str, Any], masks: Any) -> Target:
    kinds = tuple(ref["kinds"])
    return Target(
        texts=tuple(ref["texts"]),
        masks=masks,
        kind=kinds[0],
        key=str(ref["id"]),
        asked_apart=True,
        kinds=kinds,
        keys=tuple(ref["keys"]),
        keyword=ref["keyword"],
    )


def _records(refs: Path, instances: Path, part: str, is_coco: bool, name: str) -> Iterator[Record]:
    """One record for each image, in the order in which the refs name them."""
    content = read_json(instances, name)
    images = {image["id"]: image for image in content["images"]}
    annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for ref in _read_refs(refs, name):
        if is_in(ref["split"], part):
            found[ref["image_id"]].append(ref)
    if not found:
        raise fault(name, refs, "no ref belongs to this split")
    for image_id, its_refs in found.items():
        missing = {
            ref["ref_id"]: gone
            for ref in its_refs
            if (gone := [number for number in _meant(ref) if number not in annotations])
        }
        if image_id not in images or missing:
            raise fault(
                f"{name}/{image_id}",
                instances,
                f"no image of this id, or no annotation for its refs {list(missing)} (ann_id {missing})",
            )
        image = images[image_id]
        yield {
            "id": str(image_id),
            "image": image["file_name"],
            "size": [image["height"], image["width"]],
            "refs": [_ref(ref, [annotations[number] for number in _meant(ref)]) for ref in its_refs],
        } | ({"coco": image_id} if is_coco else {})


def _meant(ref: dict[str, Any]) -> list[Any]:
    """Ids of the annotations that a ref means: `ann_id` is one of them, or a list; none if it means nothing."""
    ids = ref["ann_id"] if isinstance(ref["ann_id"], list) else [ref["ann_id"]]
    return [] if ids == [NO_ANNOTATION] else ids


def _ref(ref: dict[str, Any], meant: Sequence[dict[str, Any]]) -> dict[str, Any]:
    sentences = ref["sentences"]
    masks = [one["segmentation"] for one in meant]
    return {
        "id": ref["ref_id"],
        "texts": [sentence["sent"].strip().lower() for sentence in sentences],
        "kinds": [sentence.get("kind", "" if meant else NO_TARGET) for sentence in sentences],
        "keys": [str(sentence["sent_id"]) for sentence in sentences],
        "keyword": ref.get("keyword"),
        # One list of polygons and run lengths of all its things: what is decoded is their union.
        "mask": [part for mask in masks for part in (mask if isinstance(mask, list) else [mask])],
    }
