"""LV-VIS: results.json as its server takes it, and average precision.

    [{"video_id": 1, "category_id": 7, "segmentations": [run lengths or null, one a frame], "score": 0.9}, ...]

The form is YouTube-VIS', zipped without a folder. What is asked here is a class of a video, all its objects together: one
prediction of a class, as sure as the decoder says in predictions.csv (else 1). A model that is asked so tells objects of a class
not apart, and is told which classes there are; its AP is no open-vocabulary one.
"""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from seglm.dataset.masks import checked, run_lengths
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.stills import Stills
from seglm.evaluation.asking.follow import asked_of
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.written import masks_of, see_missing
from seglm.evaluation.scores import lvvis
from seglm.evaluation.scores.files import SAID, read_said
from seglm.evaluation.scores.video_files import Predictions, open_predictions
from seglm.evaluation.scores.video_predictions import video_name
from seglm.evaluation.submit.check import names_in, open_zip
from seglm.evaluation.submit.make import add, fresh_zip
from seglm.evaluation.submit.table import percent, table
from seglm.utils.told import some_of

RESULTS = "results.json"
FIELDS = ("video_id", "category_id", "segmentations", "score")
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Instances:
    """`val_instances.json`, which the reader of the data set has looked at."""

    content: Mapping[str, Any]

    @cached_property
    def videos(self) -> Mapping[int, Mapping[str, Any]]:
        """By id."""
        return {one["id"]: one for one in self.content["videos"]}

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Name of a video's folder -> its id."""
        return {
            PurePosixPath(one["file_names"][0]).parent.as_posix(): key for key, one in self.videos.items()
        }

    @cached_property
    def categories(self) -> Mapping[int, bool]:
        """Category -> whether it is a base one."""
        return {one["id"]: one.get("partition", 0) < 2 for one in self.content["categories"]}


def make(file: Path, selection: Selection, place: Path, *, missing_is_empty: bool = False) -> int:
    """Writes the zip of a results.json, and returns how many predictions are in it.

    Raises ValueError that counts and names expressions without a prediction.
    """
    results, _ = _results_of(selection, place, _instances(selection), missing_is_empty=missing_is_empty)
    with fresh_zip(file) as archive:
        add(archive, RESULTS, json.dumps(results).encode())
    return len(results)


def validate(file: Path, selection: Selection) -> int:
    """Looks at every prediction of a results.json or its zip, and returns how many there are.

    Raises ValueError that counts what is not as the server takes it, and names the first.
    """
    results = read_results(file)
    if results is None:
        raise ValueError(f"{file} holds no {RESULTS} with a list of predictions")
    _check(results, _instances(selection), str(file))
    return len(results)


def score(selection: Selection, place: Path, *, missing_is_empty: bool = False) -> str:
    """The table of COCO's twelve numbers, over all categories, base and novel ones; place: masks, or a results.json or its zip.

    Raises ValueError as `make` and `validate`.
    """
    instances = _instances(selection)
    results, missing = read_results(place), ""
    if results is None:
        results, missing = _results_of(selection, place, instances, missing_is_empty=missing_is_empty)
    _check(results, instances, str(place))
    told = _scored(results, instances, selection.name)
    return f"{told}\n\n{missing}." if missing else told


def read_results(place: Path) -> list[Any] | None:
    """The list of a results.json, or of a zip that holds one; None if it is something else: a folder, PNGs, other JSON.

    Raises ValueError for a zip that holds a results.json not alone, or in a folder.
    """
    if place.suffix == ".json" and place.is_file():
        content = read_json(place, RESULTS)
        return content if isinstance(content, list) else None
    if not zipfile.is_zipfile(place):
        return None
    with open_zip(place) as archive:
        names = names_in(archive, place)
        if not any(PurePosixPath(name).name == RESULTS for name in names):
            return None
        if names != [RESULTS]:
            raise ValueError(f"{place} holds {some_of(names)}; permitted is {RESULTS} alone, in no folder")
        try:
            content = json.loads(archive.read(RESULTS))
        except ValueError as error:
            raise ValueError(f"{place}: {RESULTS} is no JSON ({error})") from error
    return content if isinstance(content, list) else None


def _instances(selection: Selection) -> Instances:
    """Raises ValueError where VISA's expressions are read instead, which name no category."""
    source = selection.source
    assert isinstance(source, Stills)
    if not source.annotations.name.endswith("_instances.json"):
        raise ValueError(
            f"{selection.name} is read from VISA's {source.annotations}, which knows no categories; LV-VIS scores val"
        )
    return Instances(read_json(source.annotations, selection.name))


def _results_of(
    selection: Selection, place: Path, instances: Instances, *, missing_is_empty: bool
) -> tuple[list[Entry], str]:
    """The predictions, and what `see_missing` says."""
    predictions = open_predictions(place)
    missing = see_missing(selection, predictions, missing_is_empty=missing_is_empty)
    return list(_entries(selection, predictions, instances, _sureness(place))), missing


def _entries(
    selection: Selection, predictions: Predictions, instances: Instances, sure: Mapping[str, float]
) -> Iterator[Entry]:
    """What results.json holds; an expression that is drawn in no frame is no prediction. sure: by `VIDEO/CATEGORY`."""
    for number in tqdm(range(len(selection)), desc="writing", unit="video", dynamic_ncols=True):
        sample = selection.sample(number)
        for target in sample.targets:
            masks = masks_of(sample, target, predictions)
            lengths = [run_lengths(mask) if mask.any() else None for mask in masks]
            if any(lengths):
                yield {
                    "video_id": instances.ids[video_name(sample)],
                    "category_id": int(target.key),
                    "segmentations": lengths,
                    "score": sure.get(str(asked_of(sample, target)), 1.0),
                }


def _sureness(place: Path) -> Mapping[str, float]:
    """How sure a decoder was of an expression, from the predictions.csv of a folder; nothing where there is none."""
    if not (place / SAID).is_file():
        return {}
    lines = read_said(place / SAID)
    return {line.file: line.confidence for line in lines if line.confidence is not None}


def _check(results: Sequence[Any], instances: Instances, name: str) -> None:
    """Raises ValueError that counts the predictions that are not as the server takes them, and names the first."""
    wrong = [
        f"prediction {number} {told}"
        for number, one in enumerate(tqdm(results, desc="checking", unit="prediction", dynamic_ncols=True))
        if (told := _fault(one, instances))
    ]
    if wrong:
        raise ValueError(f"{name}: {len(wrong)} of {len(results)} predictions are wrong: {some_of(wrong)}")


def _scored(results: Iterable[Entry], instances: Instances, name: str) -> str:
    """The table of COCO's twelve numbers, over all categories, base and novel ones. results: checked ones."""
    tubes: dict[tuple[int, int], tuple[list[lvvis.Tube], list[lvvis.Tube]]] = defaultdict(lambda: ([], []))
    for one in instances.content["annotations"]:
        tube = _tube(one, instances, is_crowd=bool(one.get("iscrowd", 0)))
        tubes[one["video_id"], one["category_id"]][1].append(tube)
    for one in results:
        tubes[one["video_id"], one["category_id"]][0].append(_tube(one, instances, score=one["score"]))
    cells = (lvvis.cell(video, category, *both) for (video, category), both in tubes.items())
    found = lvvis.score(cells, base=instances.categories)
    rows = {
        label: [percent(one.all), percent(one.base), percent(one.novel)]
        for label, one in [*found.precision.items(), *found.recall.items()]
    }
    return table(name, ["all", "base", "novel"], rows, lvvis.CONVENTIONS["lvvis"])


def _tube(one: Entry, instances: Instances, **more: Any) -> lvvis.Tube:
    video = instances.videos[one["video_id"]]
    size = (video["height"], video["width"])
    return lvvis.Tube([lvvis.run_lengths(mask, size) for mask in one["segmentations"]], **more)


def _fault(one: Any, instances: Instances) -> str:
    """Why a prediction is not taken; empty if it is."""
    if not isinstance(one, Mapping) or any(field not in one for field in FIELDS):
        return f"is no object with {', '.join(FIELDS)}"
    video = instances.videos.get(one["video_id"]) if isinstance(one["video_id"], int) else None
    if video is None:
        return f"is about the video {one['video_id']!r}, which is none of the {len(instances.videos)}"
    if not isinstance(one["category_id"], int) or one["category_id"] not in instances.categories:
        return f"has the category {one['category_id']!r}, which is none of the {len(instances.categories)}"
    if not isinstance(one["score"], int | float) or not isfinite(one["score"]):
        return f"has the score {one['score']!r}, permitted are numbers"
    masks, frames = one["segmentations"], len(video["file_names"])
    if not isinstance(masks, list) or len(masks) != frames:
        told = f"{len(masks)} masks" if isinstance(masks, list) else "no list of masks"
        return f"has {told}, its video {frames} frames"
    for frame, mask in enumerate(masks):
        try:
            if mask is not None:
                checked(mask, (video["height"], video["width"]))
        except ValueError as error:
            return f"has a mask of frame {frame} that is none: {error}"
    return ""
