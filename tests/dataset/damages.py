"""Good records, damaged one place at a time: what has to be a fault, and what changes nothing."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.dataset import damaged_videos
from tests.dataset.wrong_values import (
    GONE,
    NO_BOOL,
    NO_LIST,
    NO_MASK,
    NO_NAME,
    NO_NUMBER,
    NO_POINTS,
    NO_SHAPE,
    NO_SIDE,
    NO_WORDS,
)

REFS, INSTANCES = "refer_seg/grefcoco/grefs(unc).json", "refer_seg/grefcoco/instances.json"
PARTS = "vlpart/pascal_part/train.json"
TALK = "llava_dataset/llava_instruct_150k.json"
SHAPES = "reason_seg/ReasonSeg/val/090712875_val.json"
SETS = {
    "refer": ("grefcoco", "grefcoco|unc|train"),
    "parts": ("pascal_part", "pascal_part|train"),
    "talk": ("llava_instruct", "llava_instruct_150k|train"),
    "shapes": ("reasonseg", "ReasonSeg|val"),
    "streets": ("mapillary", "mapillary|training"),
    "pickle": ("refcoco", "refcoco|unc|train"),
    **damaged_videos.SETS,
}
"""reader -> (miniature data set, its spec)"""
FIELDS: dict[tuple[str, str], dict[str, tuple[Any, ...]]] = {
    ("refer", REFS): {
        "0": (None, 3, "ab", []),
        "0.split": NO_NAME,
        "0.image_id": (*NO_NUMBER, 12345),
        "0.ref_id": (*NO_NUMBER[2:], 71),
        "0.ann_id": (None, 1.5, True, {}, [[]], [None], [570, -1], [99], ["570"], 574, GONE),
        "0.sentences": NO_LIST,
        "0.sentences.0": (None, 3, "ab", []),
        "0.sentences.0.sent": NO_WORDS,
        "0.sentences.0.sent_id": (*NO_NUMBER[2:], 211),
        "0.sentences.0.kind": (3, [], None),
        "0.keyword": (3, [], " "),
    },
    ("refer", INSTANCES): {
        "images": NO_LIST,
        "images.0": (None, 3, "ab", []),
        "images.0.id": (None, "919", 920, 919.5, [], GONE),
        "images.0.file_name": NO_NAME,
        "images.0.height": NO_SIDE,
        "images.0.width": NO_SIDE,
        "images.1.id": (919,),
        "annotations": NO_LIST,
        "annotations.0": (None, 3, "ab", []),
        "annotations.0.id": (None, "570", 571, 1.5, [], GONE),
        "annotations.0.image_id": (928, "919", None),
        "annotations.0.segmentation": NO_MASK,
    },
    ("parts", PARTS): {
        "images": NO_LIST,
        "images.0": (None, 3),
        "images.0.id": ("1", 2, None, 1.5, GONE),
        "images.0.file_name": NO_NAME,
        "images.0.height": NO_SIDE,
        "images.1.file_name": ("2008_000008.jpg", "x/2008_000008.jpg"),
        "annotations": NO_LIST,
        "annotations.0": (None, 3),
        "annotations.0.id": (None, 2, 1.5, [], GONE),
        "annotations.0.image_id": (*NO_NUMBER, 99, "1"),
        "annotations.0.category_id": (*NO_NUMBER, 99),
        "annotations.0.segmentation": NO_MASK,
        "categories": NO_LIST,
        "categories.0": (None, 3),
        "categories.0.name": (*NO_WORDS, "a:b:c", ":"),
        "categories.1.id": (1,),
    },
    ("talk", TALK): {
        "1": (None, 3, "ab", []),
        "1.image": (3, True, ["a.jpg", "b.jpg"], {}, ""),
        "1.id": (None, 1.5, [], GONE),
        "1.conversations": (*NO_LIST, []),
        "1.conversations.0": (None, 3, "ab", [], GONE),
        "1.conversations.0.from": (*NO_NAME, "gpt"),
        "1.conversations.0.value": (*NO_WORDS, "<image>"),
        "1.conversations.1.value": NO_WORDS,
    },
    ("shapes", SHAPES): {
        "text": (*NO_LIST, [], "the cup"),
        "text.0": (None, 3, [], "", "  ", "half \ud800"),
        "is_sentence": NO_BOOL,
        "kind": (None, "ab", 3, ["a"] * 9),
        "shapes": NO_LIST,
        "shapes.0": (None, 3, "ab", []),
        "shapes.0.label": NO_NAME,
        "shapes.0.points": NO_POINTS,
        "shapes.0.shape_type": NO_SHAPE,
    },
    **damaged_videos.FIELDS,
    ("streets", "mapillary/config_v2.0.json"): {
        "labels": (*NO_LIST, []),
        "labels.0": (None, 3, "ab"),
        "labels.0.readable": NO_WORDS,
    },
}
"""(reader, file) -> place in it -> what makes it a fault"""

SAME: dict[tuple[str, str], dict[str, tuple[Any, ...]]] = {
    ("refer", REFS): {"0.ann_id": (570,), "0.category_id": (None, "ab"), "0.sentences.0.raw": (None, 3)},
    ("refer", INSTANCES): {
        "annotations.0.segmentation": (
            [[[98.3, 29.2], [108.75, 43.74], [90.93, 45.52]]],  # the polygon as points
            [[98.3, 29.2, 108.75, 43.74, 90.93, 45.52], [1, 2, 3, 4], []],
        ),
        "annotations.0.bbox": (None, "ab"),
        "annotations.0.image_id": (GONE,),
        "info": (None, 3),
    },
    ("parts", PARTS): {"annotations.0.iscrowd": (None, 1), "annotations.0.bbox": ("ab",)},
    ("talk", TALK): {"1.more": ("ab",)},
    **damaged_videos.SAME,
    ("shapes", SHAPES): {
        "shapes.0.shape_type": (GONE,),
        "shapes.0.group_id": (3, "ab"),
        "shapes.0.flags": (None,),
    },
}
"""the same, for what changes nothing"""

FILES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut in half": lambda good: good[: len(good) // 2],
    "null": lambda _: b"null",
    "a number": lambda _: b"3",
    "a text": lambda _: b'"ab"',
    "an empty object": lambda _: b"{}",
    "a list of null": lambda _: b"[null]",
    "a web page": lambda _: b"<!DOCTYPE html><html></html>",
    "a git-lfs pointer": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
    "zeros": lambda good: bytes(len(good)),
    "too deep": lambda _: b"[" * 100_000,
    "a number of many digits": lambda _: b"[" + b"9" * 10_000 + b"]",
    "not closed": lambda good: good + b"]",
}
"""what makes any JSON file a fault"""
ENCODINGS = ("utf-8-sig", "utf-16", "utf-32")  # with their marks: read as UTF-8 is


@dataclass(frozen=True)
class Case:
    name: str
    reader: str
    file: str
    damage: Callable[[bytes], bytes]
    is_fault: bool
    """else what is read is what was read before"""


def cases() -> Iterator[Case]:
    for is_fault, table in ((True, FIELDS), (False, SAME)):
        for (reader, file), places in table.items():
            for place, values in places.items():
                for number, value in enumerate(values):
                    told = "gone" if value is GONE else repr(value)[:40].encode("ascii", "replace").decode()
                    name = f"{reader} {Path(file).name} {place} #{number}: {told}"
                    yield Case(name, reader, file, Put(place, value), is_fault)
    for reader, file in FIELDS:
        for what, change in FILES.items():
            yield Case(f"{reader} {Path(file).name} is {what}", reader, file, change, True)
        for encoding in ENCODINGS:
            yield Case(f"{reader} {Path(file).name} in {encoding}", reader, file, Encoded(encoding), False)
    for what, change in PICKLES.items():
        yield Case(f"pickle is {what}", "pickle", "refer_seg/refcoco/refs(unc).p", change, True)
    for what, change in damaged_videos.PICKLED_TRACKS.items():
        yield Case(f"mask_dict is {what}", "counted", damaged_videos.PICKLED, change, True)


@dataclass(frozen=True)
class Put:
    """A JSON file with another value in one place, `annotations.0.id`."""

    place: str
    value: Any

    def __call__(self, good: bytes) -> bytes:
        content = json.loads(good)
        at = content
        *way, last = self.place.split(".")
        for step in way:
            at = at[_step(at, step)]
        last = _step(at, last)
        if self.value is GONE:
            del at[last]
        else:
            at[last] = copy.deepcopy(self.value)
        return json.dumps(content).encode()


def _step(at: Any, step: str) -> Any:
    """A place in a list is a number, one in an object is a text, digits too."""
    return int(step) if isinstance(at, list) else step


@dataclass(frozen=True)
class Encoded:
    """The same text in another encoding."""

    encoding: str

    def __call__(self, good: bytes) -> bytes:
        return good.decode().encode(self.encoding)


def _first_is(value: Any) -> Callable[[bytes], bytes]:
    def damaged(good: bytes) -> bytes:
        refs = pickle.loads(good)
        refs[0] = {**refs[0], "split": "train", **value} if isinstance(value, dict) else value
        return pickle.dumps(refs, protocol=2)

    return damaged


PICKLES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut in half": lambda good: good[: len(good) // 2],
    "zeros": lambda good: bytes(len(good)),
    "a dict": lambda _: pickle.dumps({}),
    "of a set": _first_is({"image_id", "ann_id"}),
    "with a set in a ref": _first_is({"keyword": {"ab"}}),
    "with bytes for words": _first_is({"sentences": [{"sent": bytearray(b"ab"), "sent_id": 1}]}),
    "with a tuple for ids": _first_is({"ann_id": (1, 2)}),
    "with NaN for an id": _first_is({"ref_id": math.nan}),
    "a text that claims to be long": lambda _: b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f" + b"ab.",
    "a list of itself": lambda _: b"\x80\x02]q\x00h\x00a.",
}
