"""Ref-YouTube-VOS and Ref-DAVIS17: MeViS' file of expressions about objects that palette PNGs number, or VISA's run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description
from seglm.dataset.faults import blamed
from seglm.dataset.fields import is_number, take
from seglm.dataset.readers.expressions import (
    Expression,
    Find,
    Rule,
    ids_of,
    in_tracks,
    open_expressions,
)
from seglm.dataset.readers.files import first_file, missing, read_json
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import LabelMaps, open_tracks
from seglm.dataset.readers.video_records import Found

MASK_DICTS = ("mask_dict.pkl", "mask_dict.json")
MOST = 254  # the largest number of an object: 255 is void


def open_palettes(
    home: Path,
    split: str,
    about: Description,
    *,
    void: int | None = None,
    has_masks: bool = True,
    rule: Rule | None = None,
    files: Sequence[Path] = (),
) -> Stills:
    """`meta_expressions/<split>/meta_expressions.json`, `<split>/JPEGImages`, `<split>/Annotations` and `<split>/meta.json`.

    Where there are no PNGs, `mask_dict.pkl` (VISA: in `<split>`; Sa2VA: in the set's folder) stands for them. files:
    of a split without masks, what is read besides when it is listed. Raises Fault.
    """
    name, meta = f"{about.name}|{split}", home / "meta_expressions" / split / "meta_expressions.json"
    plain = partial(
        open_expressions, home, split, about, meta, frames=(f"{split}/JPEGImages",), rule=rule or Rule()
    )
    if not has_masks:
        return plain(files=files)
    folder, objects = home / split / "Annotations", home / split / "meta.json"
    if folder.is_dir():
        files = (objects,) if objects.is_file() else ()
        return plain(masks=LabelMaps(folder, void=void), find=partial(_in_palettes, files, name), files=files)
    file = first_file(home, [f"{place}{one}" for place in (f"{split}/", "") for one in MASK_DICTS])
    if not file.is_file():
        raise missing(name, folder, about, f", nor is {split}/{MASK_DICTS[0]}")
    tracks = open_tracks(file, name, about)
    return plain(
        masks=tracks,
        find=lambda: in_tracks(tracks, by_count(read_json(meta, name), meta, name)),
        files=(file,),
    )


def by_count(content: Any, meta: Path, name: str) -> Any:
    """The annotation of an expression in VISA's mask_dict: expressions are counted, videos and ids sorted as texts.

    `10` comes before `2` (VISA, utils/d2_datasets/refytvos_utils.py:62-81 at c53d2cd); Sa2VA counts videos as they stand in the
    file, which is another number where that is not sorted.
    """
    with blamed(name, meta):
        videos = take(content, "videos", dict)
        pairs = [
            (video, key)
            for video in sorted(videos)
            for key in sorted(take(videos[video], "expressions", dict))
        ]
    numbers = {pair: str(number) for number, pair in enumerate(pairs)}
    return lambda one: [numbers[one.video, one.id]]


def _in_palettes(files: tuple[Path, ...], name: str) -> Find:
    """Finds things by the numbers that the PNGs hold; `meta.json`, where it is, lists them."""
    videos = take(read_json(files[0], name), "videos", dict) if files else None

    def find(expression: Expression) -> Found:
        ids = ids_of(expression.entry, "obj_id")
        for one in ids:
            if not (is_number(one) and 0 < int(one) <= MOST):
                raise ValueError(f"`obj_id` is {one!r}, permitted are 1 to {MOST}")
            if videos is not None and one not in take(take(videos, expression.video, dict), "objects", dict):
                there = ", ".join(videos[expression.video]["objects"]) or "none"
                raise ValueError(f"`obj_id` is {one!r}, {files[0].name} has {there}")
        return Found(ids, [[expression.video, int(one)] for one in ids])

    return find
