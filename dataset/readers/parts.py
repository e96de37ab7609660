"""PACO-LVIS and PASCAL-Part: annotations of things and of their parts, in COCO's format."""

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
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.utils.types import Sample, Target

OF = ":"  # between thing and part in a category's name
SUFFIX = "_("  # a category's name ends here: `car_(automobile)`
ANNOTATIONS = Scored(
    texts={
        "first": "one expression for each annotated thing or part, the first of its names",
        "all": "one expression for every name of each annotated thing or part",
    }
)


def open_parts(root: Path, split: str, about: Description, file: str, images: str) -> Stills:
    """The images of a COCO-like file that have annotations; `file` and the folder `images` lie below root. Raises Fault."""
    return open_stills(
        root,
        split,
        about,
        read_parts,
        partial(_records, root / file),
        files=(root / file,),
        images=root / images,
    )


def read_parts(record: Record, still: Still) -> Sample:
    """One target for each annotation, as in LISA: its class may be there more than once, its mask is this one."""
    size = (record["size"][0], record["size"][1])
    return Sample(
        key=still.key,
        size=size,
        frame=lambda _: still.frame(size),
        targets=tuple(
            Target(
                texts=wordings(part["names"]),
                masks=partial(_masks, part["mask"], size, still),
                key=str(part["id"]),
            )
            for part in record["parts"]
        ),
        path=str(still.path),
    )


def wordings(names: Sequence[str]) -> tuple[str, ...]:
    """What a thing (one name) or a part of a thing (two names) is called."""
    if len(names) == 1:
        return (names[0],)
    thing, part = names
    return (f"{thing} {part}", f"the {part} of the {thing}")


def _records(path: Path, name: str) -> Iterator[Record]:
    content = read_json(path, name)
    names = {category["id"]: _names(category["name"]) for category in content["categories"]}
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        found[annotation["image_id"]].append(annotation)
    for image in content["images"]:
        if image["id"] in found:
            stem = Path(image["file_name"]).stem
            yield {
                "id": stem,
                "image": image["file_name"],
                "size": [image["height"], image["width"]],
                "parts": [
                    {"id": one["id"], "names": names[one["category_id"]], "mask": one["segmentation"]}
                    for one in found[image["id"]]
                ],
            } | ({"coco": int(stem)} if stem.isdigit() else {})


def _names(category: str) -> list[str]:
    return [name.split(SUFFIX)[0].lower() for name in category.strip().split(OF)]


def _masks(segmentation: Any, size: tuple[int, int], still: Still, frames: Sequence[int]) -> Mask:
    try:
        mask = decode(segmentation, size)
    except ValueError as error:
        raise fault(still.key, still.path, f"malformed mask: {error}") from error
    return np.broadcast_to(mask, (len(frames), *size))
