"""Values that fields of annotations must not have, by what is expected there."""

from __future__ import annotations

import math

GONE = object()
"""the field is not there at all"""

NO_NAME = (None, 3, 1.5, True, [], {}, GONE)
NO_WORDS = (*NO_NAME, "", " \n", "half \ud800 sign")
NO_NUMBER = (None, "12", 1.5, math.nan, True, [], {}, GONE)
NO_SIDE = (*NO_NUMBER, 0, -5, 10**9, 10**30)
NO_LIST = (None, "ab", 3, {}, True, GONE)
NO_BOOL = (None, "false", 0, [], GONE)
WORST = (math.nan, math.inf, -math.inf, 1e300, 10**400, -1e7, 1e9, "40", None, True, [])
"""what is no coordinate in a picture of 96 x 128"""
NO_RUNS = (None, 3, "", "abc", "0", "!!", "\u4e2d", [], [1], [1.5], ["9"], [-8, 12296], [10**30])
NO_SIZE = (None, 3, [], [96], [128, 96], [96, 128, 1], ["96", "128"], [math.nan, 1])
NO_MASK = (
    *(None, "ab", 3, {}, GONE, [None], ["ab"], [1, 2, 3], [{}]),
    *([[10, 10, 60, 10, 60, worst]] for worst in WORST),
    *([[1, 2, 3, 4, 5, 6, 7]], [[[10, 10, 3], [60, 10, 3], [60, 40, 3]]], [[{"x": 1, "y": 2}] * 3]),
    [[-90, -90, 190, 190] * 9999],
    *({"size": [96, 128], "counts": counts} for counts in NO_RUNS),
    *({"size": size, "counts": [96 * 128]} for size in NO_SIZE),
    {"size": [96, 128]},
    {"counts": [96 * 128]},
)
NO_POINTS = (
    *(None, "ab", 3, {}, [], GONE, [[1, 2], [3, 4]], [[1, 2, 3]] * 3, [1, 2, 3, 4, 5]),
    *([{"x": 1, "y": 2}] * 3, [None] * 3),
    *([[10, 10], [60, 10], [60, worst]] for worst in WORST),
)
NO_SHAPE = (None, 3, "", "line", "linestrip", "point", "points", "mask", "Polygon", "banana", [])

NO_TRACK = (
    *(None, "ab", 3, {}, GONE, [None] * 7, [None] * 9, ["ab"] * 8, [[]] * 8, [True] * 8),
    *([{"size": [96, 128], "counts": counts}] * 8 for counts in NO_RUNS),
    *([{"size": size, "counts": [96 * 128]}] * 8 for size in NO_SIZE),
    [{"size": [96, 128]}] * 8,
    [{"counts": [96 * 128]}] * 8,
)
NO_FRAMES = (
    *NO_LIST,
    [],
    ["00000"] * 8,
    ["a", "b"],
    [None] * 8,
    [0, 1, 2, 3, 4, 5, 6, 7],
    ["x/00000"],
    ["", "00001"],
)
