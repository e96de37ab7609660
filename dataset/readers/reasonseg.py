"""ReasonSeg: an image and a JSON with shapes and texts of the same name; explanations stand in a list of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seglm.dataset.description import Description
from seglm.dataset.faults import fault
from seglm.dataset.frames import Pixels, read_bytes
from seglm.dataset.index import Record
from seglm.dataset.masks import IGNORE, TARGET, Mask, paint
from seglm.dataset.readers.files import files_in, first_of, read_json
from seglm.dataset.readers.stills import Still, Stills, open_stills
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
    content = _content(path, still.key)
    texts, kinds = [text.strip() for text in content["text"]], tuple(content.get("kind", ()))
    if not texts or (kinds and len(kinds) != len(texts)):
        raise fault(
            still.key,
            path,
            f"{len(texts)} texts and {len(kinds)} kinds; at least one text, and a kind for each or none",
        )
    shapes, size = content["shapes"], still.size()
    painted = cache(partial(_painted, shapes, size, still.key, path))  # target and ignore are one picture
    is_ignored = any("ignore" in shape["label"].lower() for shape in shapes)
    target = Target(
        texts=tuple(texts),
        masks=partial(_masks, painted, size, TARGET),
        is_sentence=bool(content["is_sentence"]),
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


def _records(home: Path, parts: Sequence[str], lists: Mapping[str, Path], name: str) -> Iterator[Record]:
    """One record for each name in the folders, even if one of its two files is missing: that is an error when it is read."""
    told = {
        field: {one["image"]: one[field] for one in read_json(file, name)} for field, file in lists.items()
    }
    for part in parts:
        images = {Path(file).stem: file for file in files_in(home / part, ".jpg", ".jpeg", ".png")}
        for stem in sorted({*images, *(Path(file).stem for file in files_in(home / part, ".json"))}):
            image = images.get(stem, f"{stem}.jpg")
            record = {"id": stem, "image": f"{part}/{image}", "json": f"{part}/{stem}.json"}
            yield record | {field: by_image[image] for field, by_image in told.items() if image in by_image}


def _content(path: Path, key: str) -> dict[str, Any]:
    """utf-8, else cp1252: some of the published files are."""
    content = read_bytes(path, key)
    try:
        try:
            found = json.loads(content.decode("utf-8"))
        except UnicodeDecodeError:
            found = json.loads(content.decode("cp1252"))
    except ValueError as error:
        raise fault(key, path, f"is no JSON: {error}") from error
    missing = [name for name in ("shapes", "text", "is_sentence") if name not in found]
    if missing:
        raise fault(key, path, f"has no {', '.join(missing)}")
    return dict(found)


def _painted(shapes: list[dict[str, Any]], size: tuple[int, int], key: str, path: Path) -> Pixels:
    try:
        return paint(shapes, size)
    except (ValueError, KeyError, cv2.error) as error:
        raise fault(key, path, f"malformed shapes: {error}") from error


def _masks(painted: Callable[[], Pixels], size: tuple[int, int], value: int, frames: Sequence[int]) -> Mask:
    return np.broadcast_to(painted() == value, (len(frames), *size))
