"""PACO-LVIS and PASCAL-Part: annotations of things and of their parts, in COCO's format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.faults import Fault, attempt, blamed, fault
from seglm.dataset.fields import Entry, Id, Unique, image_size, is_number, take, words
from seglm.dataset.index import Listed, Record
from seglm.dataset.masks import parts_of
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
                masks=partial(still.masks, part["mask"], size),
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


def _records(path: Path, name: str) -> Iterator[Listed]:
    content = read_json(path, name)
    with blamed(name, path):
        categories, images, annotations = (
            Unique(take(content, what, list), what) for what in ("categories", "images", "annotations")
        )
    found: defaultdict[Id, list[Entry]] = defaultdict(list)
    for key, annotation in annotations.by_id.items():
        image_id = attempt(f"{name}/annotation {key}", path, partial(_image_of, key, annotations, images))
        if isinstance(image_id, Fault):
            yield image_id
        else:
            found[image_id].append(annotation)
    for key, its_annotations in found.items():
        list_one = partial(_record, key, images, its_annotations, categories)
        yield attempt(f"{name}/image {key}", path, list_one)
    for one in (categories, images, annotations):
        yield from (fault(name, path, told) for told in one.without_id)


def _image_of(key: Id, annotations: Unique, images: Unique) -> Id:
    """The id of an annotation's image. Raises ValueError if there are two such annotations, or no such image."""
    image_id: Id = take(annotations[key], "image_id", int, str)
    if image_id not in images.by_id:
        raise ValueError(images.absent(image_id))
    return image_id


def _record(key: Id, images: Unique, annotations: Sequence[Entry], categories: Unique) -> Record:
    image = images[key]
    file, size = take(image, "file_name", str), image_size(image)
    stem = Path(file).stem
    parts = [
        {
            "id": one["id"],
            "names": _names(categories[take(one, "category_id", int, str)]),
            "mask": parts_of(one, size),
        }
        for one in annotations
    ]
    record = {"id": stem, "image": file, "size": size, "parts": parts}
    return record | ({"coco": int(stem)} if is_number(stem) else {})


def _names(category: Entry) -> list[str]:
    names = [name.split(SUFFIX)[0].lower() for name in words(take(category, "name", str), "`name`").split(OF)]
    if len(names) > 2 or not all(names):
        raise ValueError(f"category {category['name']!r}; permitted are `thing` and `thing{OF}part`")
    return names
