"""What is damaged in data sets of videos, see `damages`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from tests.dataset.wrong_values import (
    GONE,
    NO_FRAMES,
    NO_LIST,
    NO_NAME,
    NO_NUMBER,
    NO_SIDE,
    NO_TRACK,
    NO_WORDS,
)

MOTION, TRACKS = "mevis/train/meta_expressions.json", "mevis/train/mask_dict.json"
TYPES = "ReVOS/meta_expressions_train_.json"
PALETTES = "Refer-YouTube-VOS/meta_expressions/train/meta_expressions.json"
OBJECTS = "Refer-YouTube-VOS/train/meta.json"
CLASSES, LISTED = "YTVOS/train/meta.json", "ReasonVOS/meta_expressions.json"
INSTANCES_OVER_TIME = "lvvis/train_instances.json"
VIDEO, SHOWN = "videos.3f1e2d0c9b8a", "videos.1f3876f8d0"
PICKLED = "DAVIS17/valid/mask_dict.pkl"

SETS = {
    "motion": ("mevis", "mevis|train"),
    "types": ("revos", "revos|train"),
    "palettes": ("ref_youtube_vos", "ref_youtube_vos|train"),
    "classes": ("youtube_vos", "youtube_vos|train"),
    "listed": ("reasonvos", "reasonvos|test"),
    "instances": ("lvvis", "lvvis|train"),
    "counted": ("ref_davis17", "ref_davis17|valid"),
}
WITHOUT = {"instances": "lvvis/train/meta_expressions.json", "counted": "DAVIS17/valid/Annotations"}
"""reader -> a file or folder that is taken away, so that another is read"""

FIELDS: dict[tuple[str, str], dict[str, tuple[Any, ...]]] = {
    ("motion", MOTION): {
        "videos": (*NO_LIST[:3], [], GONE),
        VIDEO: (None, 3, "ab", []),
        f"{VIDEO}.frames": NO_FRAMES,
        f"{VIDEO}.frames.3": (None, 3, "99999", "00002"),
        f"{VIDEO}.expressions": (None, 3, "ab", GONE, [None], [{}], [{"exp_id": 1}]),
        f"{VIDEO}.expressions.0": (None, 3, "ab", []),
        f"{VIDEO}.expressions.0.exp": NO_WORDS,
        f"{VIDEO}.expressions.0.kind": (None, 3, ["motion"], {}, "none"),
        f"{VIDEO}.expressions.0.anno_id": (
            None,
            1.5,
            True,
            {},
            [],
            [[]],
            [None],
            [99],
            [3],
            "99",
            [0, 0],
            [0, "0"],
            GONE,
        ),
    },
    ("motion", TRACKS): {"0": NO_TRACK},
    ("types", TYPES): {
        "videos.MOSE_0a1b2c3d.expressions.0.type_id": (*NO_NUMBER, 3, -1, 2),
        "videos.MOSE_0a1b2c3d.expressions.3.type_id": (0, 1),
        "videos.MOSE_0a1b2c3d.expressions.0.anno_id": ([], [2]),
    },
    ("palettes", PALETTES): {
        f"{SHOWN}.expressions.0.obj_id": (
            None,
            1.5,
            True,
            {},
            [],
            [[]],
            [None],
            "9",
            "0",
            "255",
            "-1",
            "a",
            ["1", "1"],
            GONE,
        ),
        f"{SHOWN}.frames.1": ("00001", None),
    },
    ("palettes", OBJECTS): {
        "videos": NO_LIST,
        SHOWN: (None, 3, [], GONE),
        f"{SHOWN}.objects": (None, [], {}, GONE),
    },
    ("classes", CLASSES): {
        "videos": (*NO_LIST[:3], GONE),
        "videos.003234408d": (None, 3, []),
        "videos.003234408d.objects": (None, 3, [], {"a": {"category": "cat"}}, GONE),
        "videos.003234408d.objects.1": (None, 3, []),
        "videos.003234408d.objects.1.category": NO_WORDS,
    },
    ("listed", LISTED): {
        "videos": (*NO_LIST[:3], GONE),
        "videos.0a7b33.source": (*NO_NAME, "MeViS"),
        "videos.0a7b33.expressions.0.obj_id": (None, 1.5, True, {}, [], 9, "9", [1, 2], GONE),
        "videos.0a7b33.expressions.0.exp_id": (None, 1.5, [], 1, GONE),
        "videos.0a7b33.expressions.0.exp_text": NO_WORDS,
        "videos.0a7b33.expressions.0.is_sent": (None, "false", 0, []),
    },
    ("instances", INSTANCES_OVER_TIME): {
        "videos": NO_LIST,
        "videos.0": (None, 3),
        "videos.0.id": (None, 1.5, 2, 99, GONE),
        "videos.0.height": (*NO_SIDE, 97),
        "videos.0.file_names": (
            *NO_LIST,
            [],
            ["00000/00000.jpg"],
            [None] * 6,
            ["00000/1.jpg", "00007/2.jpg"],
        ),
        "annotations": NO_LIST,
        "annotations.0": (None, 3),
        "annotations.0.id": (None, 2, 1.5, [], GONE),
        "annotations.0.video_id": (*NO_NUMBER, 2, 99),
        "annotations.0.category_id": (*NO_NUMBER, 99),
        "annotations.0.segmentations": (
            *NO_LIST,
            [],
            [None],
            [[[1, 2, 3]]] * 6,
            [{"size": [96, 160], "counts": "0"}] * 6,
        ),
        "categories.1.name": NO_WORDS,
    },
}

SAME: dict[tuple[str, str], dict[str, tuple[Any, ...]]] = {
    ("motion", MOTION): {
        f"{VIDEO}.expressions.0.anno_id": (0, "0", ["0"]),
        f"{VIDEO}.expressions.0.exp": ("The yellow  star drifting right ",),
        f"{VIDEO}.expressions.0.kind": ("",),
        f"{VIDEO}.vid_id": (GONE, "ab"),
    },
    ("types", TYPES): {"videos.MOSE_0a1b2c3d.height": (GONE, "ab")},
    ("palettes", PALETTES): {f"{SHOWN}.expressions.0.obj_id": (1, ["1"], [1])},
    ("palettes", OBJECTS): {f"{SHOWN}.objects.1": (None, {})},
}


def _first_track_is(value: Any) -> Callable[[bytes], bytes]:
    return lambda good: pickle.dumps({**pickle.loads(good), "0": value}, protocol=2)


PICKLED_TRACKS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut in half": lambda good: good[: len(good) // 2],
    "a list": lambda _: pickle.dumps([]),
    "without a track": lambda _: pickle.dumps({}),
    "with a set": _first_track_is({1, 2}),
    "with a tuple": _first_track_is((None,) * 6),
    "too short": _first_track_is([None]),
    "with bytes that are no run lengths": _first_track_is([{"size": [100, 120], "counts": b"\xff\xfe"}] * 6),
    "with another size": _first_track_is([{"size": [10, 10], "counts": b"T3"}] * 6),
}
