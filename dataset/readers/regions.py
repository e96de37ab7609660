"""Regions that are given and spoken of: Osprey-724K, conversations or descriptions beside annotations in COCO's format; and
captions of regions as GLaMM scores them.

A sample is a picture with its regions in the order of the file. Texts call them `region1`, `region2`, ...: the file writes
`<region1>`, and the released code takes the brackets away, too (projects/llava_sam2/datasets/Osprey_Dataset.py of
magic-research/Sa2VA).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description
from seglm.dataset.faults import Fault, attempt, blamed, fault
from seglm.dataset.fields import Entry, Id, Unique, image_size, of_coco, shown, take, texts, words
from seglm.dataset.index import Listed, Record
from seglm.dataset.masks import parts_of
from seglm.dataset.readers.conversations import turns_of
from seglm.dataset.readers.files import list_of, place_in, read_json
from seglm.dataset.readers.grounded import Folders
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.utils.types import Region, Sample

NAMED = re.compile(r"<region\s*(\d+)>", re.IGNORECASE)
OPENING = re.compile(r"^\s*<?region\s*\d+>?\s*:\s*", re.IGNORECASE)


def open_regions(
    root: Path, split: str, about: Description, file: Path, home: Path, images: Folders, *, ends: str = ""
) -> Stills:
    """The pictures of a file. home: below which `images` lie; ends: words behind every question. Raises Fault."""
    place = partial(place_in, home, images.inside)
    list_records = partial(_records, file, ends)
    return open_stills(
        root, split, about, read_regions, list_records, files=(file,), images=home, place=place
    )


def open_captions(root: Path, split: str, about: Description, file: Path, home: Path) -> Stills:
    """The pictures of a file that has an "image" for each caption of a region, and an annotation of the same id with its mask.

    A region is called as its first caption is; captions with the same mask are of one region. Raises Fault if it is missing.
    """
    list_records = partial(_captioned, file)
    return open_stills(root, split, about, read_regions, list_records, files=(file,), images=home)


def read_regions(record: Record, still: Still) -> Sample:
    size = (record["size"][0], record["size"][1])
    return Sample(
        key=still.key,
        size=size,
        frame=lambda _: still.frame(size),
        turns=tuple((question, answer) for question, answer in record["turns"]),
        regions=tuple(
            Region(
                partial(still.masks, one["mask"], size),
                tuple(one["captions"]),
                one.get("key") or str(number + 1),
            )
            for number, one in enumerate(record["regions"])
        ),
        path=str(still.path),
    )


def _records(file: Path, ends: str, name: str) -> Iterator[Listed]:
    for number, entry in enumerate(list_of(read_json(file, name), "pictures", name, file)):
        yield attempt(f"{name}/picture {number}", file, partial(_record, number, entry, ends))


def _record(number: int, entry: Any, ends: str) -> Record:
    size, image = image_size(entry), take(entry, "file_name", str)
    regions: list[Entry] = [
        {"mask": parts_of(one, size), "captions": []} for one in take(entry, "annotation", list)
    ]
    if not regions:
        raise ValueError("`annotation` is empty; a region at least is spoken of")
    turns: list[list[str]] = []
    if "description" in entry:
        told = texts(entry, "description")
        if len(told) != len(regions):
            raise ValueError(f"{len(told)} descriptions of {len(regions)} regions; each region has one")
        for one, text in zip(regions, told, strict=True):
            one["captions"].append(_plain(OPENING.sub("", text), len(regions)))
    else:
        said = turns_of(take(entry, "conversations", list))
        turns = [[_plain(one, len(regions)) for one in turn] for turn in said]
        turns = [[f"{question} {ends}".strip(), answer] for question, answer in turns]
    record = {"id": str(number), "image": image, "size": size, "turns": turns, "regions": regions}
    return record | of_coco(image)


def _captioned(file: Path, name: str) -> Iterator[Listed]:
    content = read_json(file, name)
    with blamed(name, file):
        images, annotations = (Unique(take(content, what, list), what) for what in ("images", "annotations"))
    yield from (fault(name, file, told) for one in (images, annotations) for told in one.without_id)
    of_picture: defaultdict[str, list[Id]] = defaultdict(list)
    for key, image in images.by_id.items():
        picture = attempt(f"{name}/caption {key}", file, partial(take, image, "file_name", str))
        if isinstance(picture, Fault):
            yield picture
        else:
            of_picture[picture].append(key)
    for picture, keys in of_picture.items():
        yield attempt(f"{name}/{picture}", file, partial(_told_regions, picture, keys, images, annotations))


def _told_regions(picture: str, keys: list[Id], images: Unique, annotations: Unique) -> Record:
    size = image_size(images[keys[0]])
    regions: dict[str, Entry] = {}
    for key in keys:
        mask = parts_of(annotations[key], size)
        caption = words(take(images[key], "caption", str), "`caption`")
        one = regions.setdefault(repr(mask), {"mask": mask, "captions": [], "key": str(key)})
        one["captions"].append(caption)
    record = {
        "id": Path(picture).stem,
        "image": picture,
        "size": size,
        "turns": [],
        "regions": list(regions.values()),
    }
    return record | of_coco(picture)


def _plain(text: str, count: int) -> str:
    """The text with `region1` for `<region1>`. Raises ValueError if it speaks of a region that is not there."""
    numbers = [int(match[1]) for match in NAMED.finditer(text)]
    if wrong := [number for number in numbers if not 1 <= number <= count]:
        raise ValueError(f"{shown(text)} speaks of region{wrong[0]}; there are {count}")
    return NAMED.sub(lambda match: f"region{int(match[1])}", text)
