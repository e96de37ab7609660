"""RefCOCO, RefCOCO+, RefCOCOg, refCLEF, gRefCOCO, Ref-ZOM: sentences about annotated things, refs beside a COCO-like JSON.

A ref's `file_name` carries a suffix and is not the image's name; the image is found by its id. A sample is an image with all
its refs of a split, a target is a ref with all its sentences: the union of its annotations, or nothing where it has none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description, Scored
from seglm.dataset.faults import Fault, attempt, blamed, fault
from seglm.dataset.fields import Entry, Id, Unique, image_size, shown, take, words
from seglm.dataset.index import LeftOut, Listed, Record
from seglm.dataset.masks import parts_of
from seglm.dataset.readers.files import first_file, first_of, missing, read_json
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
SPLITS = re.compile("train|val|test[ABC]*")  # in the refs of all published sets
SHOWN = 6  # splits that an error names
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
    in_sa2va = (f"ref_seg/{about.name}/coco2014/train2014", "glamm_data/images/coco2014/train2014")
    pictures = first_of(root, (*images, *in_sa2va), name, about)
    list_records = partial(_records, refs, instances, part, is_coco)
    return open_stills(
        refs.parent, split, about, read_refer, list_records, files=(refs, instances), images=pictures
    )


def coco_ids(root: Path, split: str, about: Description, *, refs_names: Sequence[str] = REFS) -> set[int]:
    """COCO ids of the images of a split; the images themselves need not be there. Raises Missing if the refs are not."""
    name, part = f"{about.name}|{split}", split.partition("|")[2]
    file = _refs_file(root, split, about, refs_names)
    if not file.is_file():
        raise missing(name, file, about)
    with blamed(name, file):
        return {
            take(ref, "image_id", int)
            for ref in _read_refs(file, name)
            if is_in(take(ref, "split", str), part)
        }


def is_in(split: str, part: str) -> bool:
    """Whether a ref of that split belongs to a part, by the rule of the refer API: testAB is in testA, testB and test."""
    if part in ("testA", "testB", "testC"):
        return "test" in split and part[-1] in split[4:]
    return part in split if part == "test" else split == part


def read_refer(record: Record, still: Still) -> Sample:
    size = (record["size"][0], record["size"][1])
    return Sample(
        key=still.key,
        size=size,
        frame=lambda _: still.frame(size),
        targets=tuple(_target(ref, partial(still.masks, ref["mask"], size)) for ref in record["refs"]),
        path=str(still.path),
    )


def _refs_file(root: Path, split: str, about: Description, names: Sequence[str]) -> Path:
    """The first of the files that is there, or the first of all. Raises Fault if there is no folder for them."""
    homes = (f"refer_seg/{about.name}", about.name, f"ref_seg/{about.name}")  # the last is Sa2VA's
    folder = first_of(root, homes, f"{about.name}|{split}", about)
    return first_file(folder, [name.format(made_by=split.partition("|")[0]) for name in names])


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


def _records(refs: Path, instances: Path, part: str, is_coco: bool, name: str) -> Iterator[Listed]:
    """One record for each image, in the order in which the refs name them."""
    content = read_json(instances, name)
    with blamed(name, instances):
        images, annotations = (Unique(take(content, what, list), what) for what in ("images", "annotations"))
    of_split: list[Any] = []
    others: set[str] = set()
    for number, ref in enumerate(_read_refs(refs, name)):
        split = attempt(f"{name}/ref {number}", refs, partial(take, ref, "split", str))
        if isinstance(split, Fault):
            yield split
        elif is_in(split, part):
            of_split.append(ref)
        else:
            others.add(split)
            if not SPLITS.fullmatch(split):
                yield LeftOut(f"refs of a split {shown(split)}, which is in no split of the set")
    if not of_split:
        there = ", ".join(shown(split) for split in sorted(others)[:SHOWN]) or "none"
        raise fault(name, refs, f"no ref belongs to this split; splits of its refs are {there}")
    unique = Unique(of_split, "refs", id_field="ref_id")
    yield from (fault(name, refs, told) for told in unique.without_id)
    found: defaultdict[Id, list[Entry]] = defaultdict(list)
    for key in unique.by_id:
        image_id = attempt(f"{name}/ref {key}", refs, partial(_image_of, key, unique))
        if isinstance(image_id, (Fault, LeftOut)):
            yield image_id
        else:
            found[image_id].append(unique[key])
    for image_id, its_refs in found.items():
        list_one = partial(_record, image_id, its_refs, images, annotations, is_coco)
        yield attempt(f"{name}/{image_id}", instances, list_one)


def _image_of(key: Id, refs: Unique) -> Id | LeftOut:
    """The id of a ref's image. gRefCOCO's published val has refs that say nothing."""
    image_id: Id = take(refs[key], "image_id", int, str)
    return image_id if take(refs[key], "sentences", list) else LeftOut("refs without a sentence")


def _record(
    image_id: Id, refs: Sequence[Entry], images: Unique, annotations: Unique, is_coco: bool
) -> Record:
    missing = {
        ref["ref_id"]: gone
        for ref in refs
        if (gone := [number for number in _meant(ref) if number not in annotations.by_id])
    }
    if image_id not in images.by_id or missing:
        raise ValueError(
            f"no image of this id, or no annotation for its refs {list(missing)} (ann_id {missing})"
        )
    image = images[image_id]
    size = image_size(image)
    record = {
        "id": str(image_id),
        "image": take(image, "file_name", str),
        "size": size,
        "refs": [_ref(ref, [annotations[number] for number in _meant(ref)], size) for ref in refs],
    }
    keys = Counter(key for ref in record["refs"] for key in ref["keys"])
    if max(keys.values()) > 1:
        raise ValueError(f"two sentences have the sent_id {keys.most_common(1)[0][0]}")
    return record | ({"coco": image_id} if is_coco else {})


def _meant(ref: Entry) -> list[Id]:
    """Ids of the annotations that a ref means: `ann_id` is one of them, or a list; none if it means nothing."""
    given = take(ref, "ann_id", int, str, list)
    ids = given if isinstance(given, list) else [given]
    if not all(type(one) in (int, str) for one in ids):
        raise ValueError(f"`ann_id` of ref {ref['ref_id']} is {shown(given)}, permitted are ids")
    return [] if ids == [NO_ANNOTATION] else ids


def _ref(ref: Entry, meant: Sequence[Entry], size: list[int]) -> Entry:
    """What is kept of a ref. Raises ValueError if one of its things is of another picture."""
    sentences = take(ref, "sentences", list)
    for one in meant:
        if one.get("image_id", ref["image_id"]) != ref["image_id"]:
            raise ValueError(
                f"ref {ref['ref_id']} of image {ref['image_id']!r} means annotation {one['id']} of image {one['image_id']!r}"
            )
    kind, keyword = "" if meant else NO_TARGET, ref.get("keyword")
    return {
        "id": ref["ref_id"],
        "texts": [words(take(one, "sent", str), "`sent`").lower() for one in sentences],
        "kinds": [take({"kind": kind, **one}, "kind", str) for one in sentences],
        "keys": [str(take(one, "sent_id", int, str)) for one in sentences],
        "keyword": None if keyword is None else words(keyword, "`keyword`"),
        # One list of polygons and run lengths of all its things: what is decoded is their union.
        "mask": [part for one in meant for part in parts_of(one, size)],
    }
