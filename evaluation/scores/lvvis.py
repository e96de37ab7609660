"""LV-VIS: average precision of masks through a video, over all categories, base ones and novel ones.

Source: evaluate/lvviseval.py of haochenheheda/LVVIS at cc3cdf4, itself YouTube-VIS' and COCO's. An object is its masks of
all frames; two overlap by the sum of their intersections over the sum of their unions. AP is the mean over the thresholds
0.5, 0.55, ... 0.95 of the precision at 101 recalls, of a category; then over the categories that have an object. AR is the
highest recall.
Areas are means over the frames in which an object is seen: small below 128^2 pixels, large above 256^2.

Crowds: LV-VIS counts them as objects that may be found several times; YouTube-VIS (youtubevos/cocoapi at f3f9948) leaves them
and whatever matches them out. This is the only difference of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

Convention = Literal["lvvis", "youtube_vis"]
CONVENTIONS: Mapping[Convention, str] = {
    "lvvis": "LV-VIS' AP: IoU through the video, 0.5 to 0.95, 101 recalls, mean over categories; a crowd is an object",
    "youtube_vis": "YouTube-VIS' AP: IoU through the video, 0.5 to 0.95, 101 recalls, mean over categories; crowds left out",
}
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST = (1, 10, 100)
"""predictions of a category in a video, the best first, that count"""
AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 128**2),
    "medium": (128**2, 256**2),
    "large": (256**2, 1e10),
}
"""pixels, both ends included"""
ALMOST_ONE = 1 - 1e-10  # the highest IoU that a threshold may ask for


@dataclass(frozen=True)
class Tube:
    """One object through a video."""

    masks: Sequence[Mapping[str, Any] | None]
    """of each frame, COCO's compressed run lengths; None where it is not seen"""
    score: float = 1.0
    """how sure the prediction is"""
    is_crowd: bool = False

    @property
    def area(self) -> float:
        """Pixels of a mask, the mean over frames that have one; 0 if none has."""
        areas = [area for mask in self.masks if mask and (area := int(coco.area(mask)))]
        return float(np.array(areas).mean()) if areas else 0.0


@dataclass(frozen=True)
class Cell:
    """One category in one video: all that its score is made of. A few numbers: processes exchange these."""

    video: int
    category: int
    scores: tuple[float, ...]
    """of the predictions, the highest first; at most MOST[-1]"""
    predicted_areas: tuple[float, ...]
    target_areas: tuple[float, ...]
    is_crowd: tuple[bool, ...]
    """of the true objects"""
    overlaps: tuple[tuple[float, ...], ...]
    """for each prediction its IoU with each true object"""


@dataclass(frozen=True)
class Average:
    """A mean over categories, 0 to 1; None where no category has an object."""

    all: float | None
    base: float | None
    novel: float | None


@dataclass(frozen=True)
class Score:
    """A benchmark's outcome, by the names of COCO's table."""

    precision: Mapping[str, Average]
    """AP, AP50, AP75, APs, APm, APl"""
    recall: Mapping[str, Average]
    """AR1, AR10, AR100, ARs, ARm, ARl"""
    categories: Mapping[int, float | None]
    """AP of each category"""


def run_lengths(segmentation: Any, size: tuple[int, int]) -> Mapping[str, Any] | None:
    """Compressed run lengths of what a file may hold: polygons, run lengths as a list, or compressed ones; None stays None."""
    if not segmentation:
        return None
    if isinstance(segmentation, Mapping):
        is_plain = isinstance(segmentation["counts"], list)
        made: Mapping[str, Any] = coco.frPyObjects(segmentation, *size) if is_plain else segmentation
        return made
    merged: Mapping[str, Any] = coco.merge(coco.frPyObjects(segmentation, *size))
    return merged


def overlap(one: Tube, other: Tube) -> float:
    """IoU through the video, 0 to 1; 0 if both are empty. Frames beyond the shorter one's end do not count."""
    intersection = union = 0
    for pair in zip(one.masks, other.masks, strict=False):
        seen = [mask for mask in pair if mask]
        if len(seen) == 2:
            intersection += int(coco.area(coco.merge(seen, intersect=True)))
        if seen:
            union += int(coco.area(coco.merge(seen)))
    return intersection / union if union else 0.0


def cell(video: int, category: int, predictions: Sequence[Tube], targets: Sequence[Tube]) -> Cell:
    """What one category of one video amounts to; of equally sure predictions the first one goes first.

    Raises ValueError if masks of a frame have several sizes.
    """
    ranked = sorted(predictions, key=lambda one: -one.score)[: MOST[-1]]
    for frame, masks in enumerate(zip_longest(*(one.masks for one in [*ranked, *targets]))):
        sizes = {tuple(mask["size"]) for mask in masks if mask}
        if len(sizes) > 1:
            raise ValueError(
                f"video {video}, category {category}: masks of frame {frame} have the sizes {sorted(sizes)}"
            )
    return Cell(
        video,
        category,
        tuple(one.score for one in ranked),
        tuple(one.area for one in ranked),
        tuple(one.area for one in targets),
        tuple(one.is_crowd for one in targets),
        tuple(tuple(overlap(one, other) for other in targets) for one in ranked),
    )


def score(cells: Iterable[Cell], *, base: Mapping[int, bool], convention: Convention = "lvvis") -> Score:
    """All numbers, whatever the order of the cells.

    base: for each category whether it is a base one (`partition` 0 and 1 in val_instances.json), or a novel one.
    Raises ValueError for a cell of another category, or one that is there twice.
    """
    ranked = sorted(cells, key=lambda one: (one.category, one.video))
    for one, following in zip(ranked, [*ranked[1:], None], strict=True):
        if one.category not in base:
            raise ValueError(f"category {one.category} is none of the {len(base)} categories")
        if following and (one.video, one.category) == (following.video, following.category):
            raise ValueError(
                f"video {one.video}, category {one.category} is there twice; give all its tubes to one `cell`"
            )
    of = {category: list(some) for category, some in groupby(ranked, key=lambda one: one.category)}
    curves = {
        (area, most): {
            category: _curve(some, AREAS[area], most, ignore_crowds=convention == "youtube_vis")
            for category, some in of.items()
        }
        for area, most in [*((area, MOST[-1]) for area in AREAS), *(("all", most) for most in MOST[:-1])]
    }

    def average(area: str, most: int, pick: int, at: slice | int = slice(None)) -> Average:
        values = {key: curve[pick][at] for key, curve in curves[area, most].items() if curve is not None}
        return Average(
            _mean(values.values()),
            *(_mean(value for key, value in values.items() if base[key] is kind) for kind in (True, False)),
        )

    small = {letter: name for name in AREAS if name != "all" for letter in name[0]}
    return Score(
        precision={
            "AP": average("all", MOST[-1], 0),
            "AP50": average("all", MOST[-1], 0, 0),
            "AP75": average("all", MOST[-1], 0, 5),
            **{f"AP{letter}": average(area, MOST[-1], 0) for letter, area in small.items()},
        },
        recall={
            **{f"AR{most}": average("all", most, 1) for most in MOST},
            **{f"AR{letter}": average(area, MOST[-1], 1) for letter, area in small.items()},
        },
        categories={
            category: _mean([curve[0]]) if (curve := curves["all", MOST[-1]].get(category)) else None
            for category in base
        },
    )


_Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""precision float64 [threshold, recall], and the highest recall float64 [threshold]"""


def _curve(
    cells: Sequence[Cell], area: tuple[float, float], most: int, *, ignore_crowds: bool
) -> _Curve | None:
    """One category; None if it has no object of such an area."""
    parts = [_matched(one, area, most, ignore_crowds) for one in cells]
    wanted = sum(count for _, _, _, count in parts)
    if not wanted:
        return None
    order = np.argsort(-np.concatenate([scores for scores, _, _, _ in parts]), kind="stable")
    hit, out = (np.concatenate([part[at] for part in parts], axis=1)[:, order] for at in (1, 2))
    hits, misses = (np.cumsum(kind & ~out, axis=1).astype(np.float64) for kind in (hit, ~hit))
    precision, recall = np.zeros((len(THRESHOLDS), len(RECALLS))), np.zeros(len(THRESHOLDS))
    for number, (found, wrong) in enumerate(zip(hits, misses, strict=True)):
        if not len(found):
            continue
        reached = found / wanted
        recall[number] = reached[-1]
        # The best precision at this recall or a higher one.
        best = np.maximum.accumulate((found / (wrong + found + np.spacing(1)))[::-1])[::-1]
        at = np.searchsorted(reached, RECALLS, side="left")
        precision[number, at < len(best)] = best[at[at < len(best)]]
    return precision, recall


def _matched(
    one: Cell, area: tuple[float, float], most: int, ignore_crowds: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], int]:
    """Of one cell: scores, which predictions hit [threshold, prediction], which are left out, and how many objects there are."""
    ignored = [
        not area[0] <= size <= area[1] or (ignore_crowds and crowd)
        for size, crowd in zip(one.target_areas, one.is_crowd, strict=True)
    ]
    order = sorted(range(len(ignored)), key=lambda target: ignored[target])  # those that count first
    count = min(len(one.scores), most)
    beside = np.array(
        [not area[0] <= size <= area[1] for size in one.predicted_areas[:count]], dtype=np.bool_
    )
    hit, out = (np.zeros((len(THRESHOLDS), count), dtype=np.bool_) for _ in range(2))
    for number, threshold in enumerate(THRESHOLDS):
        taken: set[int] = set()
        for row in range(count):
            best, least = None, min(threshold, ALMOST_ONE)
            for target in order:
                if target in taken and not one.is_crowd[target]:
                    continue
                if best is not None and not ignored[best] and ignored[target]:
                    break
                if one.overlaps[row][target] >= least:
                    best, least = target, one.overlaps[row][target]
            if best is not None:
                taken.add(best)
                hit[number, row], out[number, row] = True, ignored[best]
    out |= ~hit & beside
    return np.array(one.scores[:count]), hit, out, len(ignored) - sum(ignored)


def _mean(values: Iterable[NDArray[np.float64] | np.float64]) -> float | None:
    """Of all numbers of all categories."""
    given = [np.atleast_1d(value) for value in values]
    return float(np.mean(np.stack(given, axis=-1))) if given else None
