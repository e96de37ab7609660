"""YouTube-VOS: videos with objects of a class each; a class is asked for, all its objects together (VideoLISA)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description, Scored
from seglm.dataset.faults import attempt, blamed
from seglm.dataset.fields import is_number, take, words
from seglm.dataset.index import LeftOut, Listed, Record
from seglm.dataset.readers.files import first_of, read_json
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video import natural
from seglm.dataset.readers.video_masks import LabelMaps
from seglm.dataset.readers.video_records import EXPRESSIONS, Found, expression_of, open_videos, record_of

FOLDERS = ("YTVOS", "ytvos", "youtube_vos", "YouTubeVOS", "Youtube-VOS", "youtube-vos")
DESCRIPTION = Description(
    names=("youtube_vos", "ytvos"),
    family="vos",
    splits=("train", "valid"),
    tree=(
        "YTVOS/{train,valid}/JPEGImages/*/*.jpg",
        "YTVOS/{train,valid}/Annotations/*/*.png",
        "YTVOS/{train,valid}/meta.json",
    ),
    home="https://youtube-vos.org/dataset/vos/",
    counts={"train": 3471},
    quirks=(
        "an object that comes late is in meta.json's frames from then on",
        "valid publishes an object's mask in its first frame only; its server scores the rest",
    ),
    scored=Scored(texts=EXPRESSIONS, splits=("train",), conventions=("every",)),
)


def load(root: Path, split: str) -> Stills:
    home = first_of(root, FOLDERS, f"youtube_vos|{split}", DESCRIPTION) / split
    meta, masks = home / "meta.json", LabelMaps(home / "Annotations", is_sparse=split == "valid")
    return open_videos(
        home, split, DESCRIPTION, masks, partial(records, meta, split == "valid"), [meta], ("JPEGImages",)
    )


def records(meta: Path, is_sparse: bool, name: str) -> Iterator[Listed]:
    content = read_json(meta, name)
    with blamed(name, meta):
        videos = take(content, "videos", dict)
    for video_id, video in videos.items():
        yield attempt(f"{name}/{video_id}", meta, partial(_record, video_id, video, is_sparse))


def _record(video_id: str, video: Any, is_sparse: bool) -> Record | LeftOut:
    classes: dict[str, list[str]] = {}
    objects = take(video, "objects", dict)
    for number, one in objects.items():
        if not is_number(number):
            raise ValueError(f"`objects` has {number!r}, permitted are the numbers that the PNGs hold")
        classes.setdefault(words(take(one, "category", str), "`category`"), []).append(number)
    expressions = []
    for text, numbers in classes.items():
        found = Found(numbers, [[video_id, int(number)] for number in numbers])
        known = _first_frame([objects[number] for number in numbers]) if is_sparse else None
        expressions.append(expression_of(text, text, found, known=known))
    if not expressions:
        return LeftOut("videos without an object")
    return record_of(video_id, None, expressions, None)


def _first_frame(objects: list[Any]) -> list[str]:
    """The frame in which all of them come; none if they come one after the other: no frame shows them together then."""
    first = {
        min((words(name, "`frames`") for name in take(one, "frames", list)), key=natural) for one in objects
    }
    return list(first) if len(first) == 1 else []
