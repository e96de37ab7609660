"""The loaders of videos label every expression as the toy world wrote it, so that scores can be split by kind."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seglm.dataset.faults import Fault
from seglm.dataset.readers.refer import NO_TARGET
from seglm.dataset.sources import open_source
from seglm.dataset.sources.revos import KINDS
from seglm.utils.types import Sample

META = "meta_expressions.json"
WITH_KINDS = {
    "mevis|train": f"mevis/train/{META}",
    "mevis|valid_u": f"mevis/valid_u/{META}",
    "mevis|valid": f"mevis/valid/{META}",
    "mevis|v2|train": "mevis/train/meta_expressions_v2.json",
    "mevis|v2|valid_u": "mevis/valid_u/meta_expressions_v2.json",
    "mevis|v2|valid": "mevis/valid/meta_expressions_v2.json",
    "ref_youtube_vos|train": f"Refer-YouTube-VOS/meta_expressions/train/{META}",
    "ref_youtube_vos|valid": f"Refer-YouTube-VOS/meta_expressions/valid/{META}",
    "ref_youtube_vos|test": f"Refer-YouTube-VOS/meta_expressions/test/{META}",
    "ref_davis17|train": f"DAVIS17/meta_expressions/train/{META}",
    "ref_davis17|valid": f"DAVIS17/meta_expressions/valid/{META}",
    "reasonvos|test": f"ReasonVOS/{META}",
}
WITHOUT = ("youtube_vos|train", "youtube_vos|valid", "lvvis|train", "lvvis|val")
WRITTEN = {"motion", "order", "growth", "interaction", "attribute", "multi", "reasoning", NO_TARGET}


def samples(spec: str, root: Path) -> list[Sample]:
    source = open_source(spec, root)
    return [source.sample(index) for index in range(len(source))]


def written(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """(video, id of the expression) -> its entry."""
    videos = json.loads(file.read_text())["videos"]
    found = {}
    for name, video in videos.items():
        entries = video["expressions"]
        if isinstance(entries, list):
            entries = {str(one["exp_id"]): one for one in entries}
        found |= {(name, key): entry for key, entry in entries.items()}
    return found


@pytest.mark.parametrize("spec", WITH_KINDS)
def test_an_expression_is_of_the_kind_that_its_file_says(videos: Path, spec: str) -> None:
    entries, kinds = written(videos / WITH_KINDS[spec]), Counter[str]()
    for sample in samples(spec, videos):
        for target in sample.targets:
            entry = entries[sample.key.rpartition("/")[2], target.key]
            assert target.kind == entry["kind"] in WRITTEN
            kinds[target.kind] += 1
    assert len(kinds) > 1, "one kind is no split of a score"


@pytest.mark.parametrize("spec", ["revos|train", "revos|valid"])
def test_where_a_set_has_types_they_are_its_kinds(videos: Path, spec: str) -> None:
    split = spec.rpartition("|")[2]
    entries, kinds = written(videos / f"ReVOS/meta_expressions_{split}_.json"), set()
    for sample in samples(spec, videos):
        for target in sample.targets:
            assert target.kind == KINDS[entries[sample.key.rpartition("/")[2], target.key]["type_id"]]
            kinds.add(target.kind)
    assert kinds == set(KINDS.values())


@pytest.mark.parametrize("spec", WITHOUT)
def test_what_asks_for_classes_has_no_kinds(videos: Path, spec: str) -> None:
    assert {target.kind for sample in samples(spec, videos) for target in sample.targets} == {""}


def test_what_means_nothing_on_a_server_has_no_published_mask(videos: Path) -> None:
    """The kind may say that nothing is meant; the mask is as hidden as all others of the split."""
    nothing = [
        target
        for sample in samples("mevis|v2|valid", videos)
        for target in sample.targets
        if target.kind == NO_TARGET
    ]
    assert nothing and all(target.known_frames == () for target in nothing)
    with pytest.raises(Fault, match="are not published"):
        nothing[0].masks([0])


def test_an_object_is_known_where_its_own_first_mask_is_and_not_where_another_comes(videos: Path) -> None:
    """YouTube-VOS valid: a PNG holds what is seen for the first time, and says nothing of the others."""
    meta = json.loads((videos / "YTVOS/valid/meta.json").read_text())["videos"]
    late = 0
    for sample in samples("youtube_vos|valid", videos):
        objects = meta[sample.key.rpartition("/")[2]]["objects"]
        for target in sample.targets:
            first = {min(objects[number]["frames"], default="") for number in target.objects}
            known = [sample.frame_names[frame] for frame in target.known_frames or ()]
            assert known == (list(first) if len(first) == 1 else [])
            late += known != ["00000"]
            assert all(np.any(target.masks([frame])) for frame in target.known_frames or ())
    assert late
