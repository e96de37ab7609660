"""ReasonSeg: an image and a JSON with shapes and texts of the same name; explanations stand in a list of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from seglm.dataset.description import Description
from seglm.dataset.faults import Fault, attempt, blamed
from seglm.dataset.fields import take, texts, words
from seglm.dataset.frames import Pixels
from seglm.dataset.index import LeftOut, Listed, Record
from seglm.dataset.masks import IGNORE, TARGET, Mask, outlines, paint
from seglm.dataset.readers.files import files_in, first_of, read_json, the_one
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.dataset.readers.video import ENDINGS
from seglm.utils.types import Sample, Target

FOLDERS = ("reason_seg/ReasonSeg", "ReasonSeg")
JOIN = "_"  # `train_val` is both splits
LISTS = {
    "outputs": "explanatory/train.json",
    "keyword": "explanatory_key/keyword_outputs.json",
}
"""field of an entry -> the file whose entries have it, by image; both are optional (the second is KeySeg's)"""


def open_reasonseg(root: Path, split: str, about: Description) -> Stills:
    """The images of a split, or of several (`train_val`). Raises Fault if a folder is missing."""
    name = f"{about.name}|{split}"
    home = first_of(root, FOLDERS, name, about)
    for part in split.split(JOIN):
        first_of(home, (part,), name, about)
    lists = {name: home / file for name, file in LISTS.items() if (home / file).is_file()}
    files = [*(home / part for part in split.split(JOIN)), *lists.values()]
    list_records = partial(_records, home, split.split(JOIN), lists)
    return open_stills(home, split, about, read_reasonseg, list_records, files=files)


def read_reasonseg(record: Record, still: Still) -> Sample:
    """All texts are expressions about one mask; what the shapes leave to be ignored is `Sample.ignore`."""
    path = still.root / record["json"]
    content = read_json(path, still.key)
    with blamed(still.key, path):
        asked, kinds = texts(content, "text"), tuple(texts({"kind": [], **content}, "kind"))
        if not asked or (kinds and len(kinds) != len(asked)):
            told = (
                f"{len(asked)} texts and {len(kinds)} kinds; at least one text, and a kind for each or none"
            )
            raise ValueError(told)
        size, is_sentence = _drawn_on(content, still.size()), take(content, "is_sentence", bool)
        shapes = outlines(take(content, "shapes", list), size)
    painted = cache(partial(paint, shapes, size))  # target and ignore are one picture
    is_ignored = any(shape.is_ignored for shape in shapes)
    target = Target(
        texts=tuple(asked),
        masks=partial(_masks, painted, size, TARGET),
        is_sentence=is_sentence,
        kind=kinds[0] if kinds else "",
        explanation=record.get("outputs"),
        keyword=record.get("keyword"),
        key=record["id"],
        asked_apart=True,
        kinds=kinds,
    )
    return Sample(
        key=still.key,
        size=size,
        frame=lambda _: still.frame(size),
        targets=(target,),
        ignore=partial(_masks, painted, size, IGNORE) if is_ignored else None,
        path=str(still.path),
    )


def _drawn_on(content: Mapping[str, Any], size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the picture as the outlines are drawn on it, which labelme writes. Raises ValueError if it is another one."""
    told = (content.get("imageHeight"), content.get("imageWidth"))
    if None in told or told == size:
        return size
    if told == size[::-1]:
        return told  # as it is stored, before its EXIF turns it: `Still.frame` shows it so, or refuses it
    raise ValueError(
        f"drawn on a picture of {told[0]!r} x {told[1]!r} (`imageHeight` x `imageWidth`), its picture is {size[0]} x {size[1]}; "
        "give that picture or draw anew on this one, and if the points are this one's take the two fields out"
    )


def _records(home: Path, parts: Sequence[str], lists: Mapping[str, Path], name: str) -> Iterator[Listed]:
    """One record for each name in the folders, even if one of its two files is missing: that is an error when it is read."""
    told: dict[str, dict[str, str]] = {}
    for field, file in lists.items():
        told[field] = {}
        for number, entry in enumerate(read_json(file, name)):
            said = attempt(f"{name}/{field} {number}", file, partial(_said, entry, field))
            if isinstance(said, Fault):
                yield said
                continue
            if told[field].get(said[0], said[1]) != said[1]:
                yield LeftOut(f"`{field}` that a later entry of the same picture replaces")
            told[field][said[0]] = said[1]
    for part in parts:
        images, contents = files_in(home / part, *ENDINGS), files_in(home / part, ".json")
        for stem in sorted({*images, *contents}):
            found = partial(_record, home / part, images.get(stem, []), contents.get(stem, []), stem)
            record = attempt(f"{name}/{stem}", home / part, found)
            if not isinstance(record, Fault):
                image = Path(record["image"]).name
                record |= {field: by_image[image] for field, by_image in told.items() if image in by_image}
            yield record


def _said(entry: Any, field: str) -> tuple[str, str]:
    """An image's name, and what an entry of a list says of it."""
    return take(entry, "image", str), words(take(entry, field, str), f"`{field}`")


def _record(folder: Path, images: list[str], contents: list[str], stem: str) -> Record:
    content = the_one(contents or [f"{stem}.json"], folder)
    if len(images) > 1:
        images = _named(folder / content, images) or images
    image = the_one(images or [f"{stem}.jpg"], folder)
    return {"id": stem, "image": f"{folder.name}/{image}", "json": f"{folder.name}/{content}"}


def _named(path: Path, images: Sequence[str]) -> list[str]:
    """Those of the images that the file itself names: labelme's `imagePath`, or `image_name` of a shape."""
    content = read_json(path, path.stem)
    told = [content.get("imagePath")] if isinstance(content, dict) else []
    if isinstance(content, dict) and isinstance(content.get("shapes"), list):
        told += [shape.get("image_name") for shape in content["shapes"] if isinstance(shape, dict)]
    names = {
        PureWindowsPath(one).name for one in told if isinstance(one, str)
    }  # splits at / and at its own mark
    return [image for image in images if image in names]


def _masks(painted: Callable[[], Pixels], size: tuple[int, int], value: int, frames: Sequence[int]) -> Mask:
    return np.broadcast_to(painted() == value, (len(frames), *size))
