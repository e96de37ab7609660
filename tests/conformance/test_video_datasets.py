"""Every loader of videos against what was written into the miniature data sets: frames, sizes, texts, pixels of every mask."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from seglm.dataset.readers.refer import NO_TARGET
from seglm.dataset.sources import open_source
from seglm.dataset.sources.revos import KINDS
from seglm.utils.types import Sample, Target
from tests.conformance.goldens import each
from tests.conformance.test_datasets import expected, root

Asked = dict[tuple[str, str], tuple[Sample, Target]]


def asked(spec: str, name: str, folder: str = "") -> Asked:
    """(video, expression) -> sample and target; every frame opens and has the size the sample claims."""
    source = open_source(spec, root(name) / folder)
    found = {}
    for index in range(len(source)):
        sample = source.sample(index)
        for number in range(sample.num_frames):
            assert sample.frame(number).shape == (*sample.size, 3), sample.key
        video = sample.key.partition("/")[2]
        found |= {(video, target.key): (sample, target) for target in sample.targets}
    return found


def pixels(sample: Sample, target: Target) -> list[int]:
    """Of the mask, frame by frame, where it is known."""
    known = range(sample.num_frames) if target.known_frames is None else target.known_frames
    return [int(target.masks([number]).sum()) for number in known]


def as_used(text: str, *, is_sentence: bool) -> str:
    text = " ".join(text.split())
    return text if is_sentence else text.lower()


def check(got: Asked, samples: list[dict[str, Any]], masks: str, *, names: Mapping[str, str] = {}) -> None:
    """names: field -> how this data set's file calls it."""
    exp_id, exp = names.get("exp_id", "exp_id"), names.get("exp", "exp")
    assert set(got) == {(one["video"], str(one[exp_id])) for one in samples}
    for one in samples:
        sample, target = got[one["video"], str(one[exp_id])]
        sentence = one.get("is_sent", one[exp].endswith("?"))
        assert target.is_sentence is sentence
        assert target.texts == (as_used(one[exp], is_sentence=sentence),)
        if "frames" in one:
            assert list(sample.frame_names) == one["frames"]
        if "height" in one:
            assert sample.size == (one["height"], one["width"])
        if one.get(masks) is not None:
            assert pixels(sample, target) == one[masks], (sample.key, target.key)
        else:
            assert target.known_frames == ()


# ---- MeViS ----------------------------------------------------------------------------------------------------------
@each("split", expected("mevis"))
def test_mevis(split: str) -> None:
    want, got = expected("mevis")[split], asked(f"mevis|{split}", "mevis")
    check(got, want["samples"], "union_mask_pixels")
    for one in want["samples"]:
        if one["first_frame_crc32"] is not None:
            mask = got[one["video"], one["exp_id"]][1].masks([0])[0]
            assert (
                zlib.crc32(np.ascontiguousarray(mask).astype(np.uint8).tobytes()) == one["first_frame_crc32"]
            )


# ---- Ref-YouTube-VOS and Ref-DAVIS17 ---------------------------------------------------------------------------------
@each("split", expected("ref_youtube_vos"))
def test_ref_youtube_vos_of_which_the_videos_of_test_are_left_out(split: str) -> None:
    want, got = expected("ref_youtube_vos")[split], asked(f"ref_youtube_vos|{split}", "ref_youtube_vos")
    if "videos" in want:
        assert {video for video, _ in got} == set(want["videos"])
    if "samples" in want:
        assert len(got) == want["n_expressions"]
        check(got, want["samples"], "mask_pixels")


@each("split", expected("ref_davis17"))
def test_ref_davis17(split: str) -> None:
    want, got = expected("ref_davis17")[split], asked(f"ref_davis17|{split}", "ref_davis17")
    check(got, want["samples"], "mask_pixels")
    for one in want["samples"]:
        _, target = got[one["video"], one["exp_id"]]
        assert (target.objects, int(target.key) % 4) == ((one["obj_id"],), one["annotator"])


# ---- YouTube-VOS -----------------------------------------------------------------------------------------------------
@each("split", expected("youtube_vos"))
def test_youtube_vos_asks_for_a_class_with_all_its_objects(split: str) -> None:
    want, got = expected("youtube_vos")[split]["videos"], asked(f"youtube_vos|{split}", "youtube_vos")
    assert set(got) == {
        (name, one["category"]) for name, video in want.items() for one in video["objects"].values()
    }
    for (name, text), (sample, target) in got.items():
        video = want[name]
        objects = [number for number, one in video["objects"].items() if one["category"] == text]
        assert sorted(target.objects) == objects and sample.size == (video["height"], video["width"])
        assert list(sample.frame_names) == video["frames"]
        counts = [video["pixels_per_object"][file] for file in video["annotation_files"]]
        assert pixels(sample, target) == [sum(count.get(number, 0) for number in objects) for count in counts]


# ---- LV-VIS ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("folder", ["", "glus_layout"])
def test_lvvis(folder: str) -> None:
    samples = [{**one, "exp": one["exp_as_used"]} for one in expected("lvvis")["samples"]]
    check(asked("lvvis|train", "lvvis", folder), samples, "union_mask_pixels")


def test_lvvis_read_from_its_annotations_says_the_same(tmp_path: Any) -> None:
    (tmp_path / "lvvis").mkdir()
    (tmp_path / "lvvis/train").mkdir()
    home = root("lvvis") / "lvvis"
    (tmp_path / "lvvis/train_instances.json").symlink_to(home / "train_instances.json")
    (tmp_path / "lvvis/train/JPEGImages").symlink_to(home / "train/JPEGImages")
    source = open_source("lvvis|train", tmp_path)
    samples = [source.sample(index) for index in range(len(source))]
    got = {
        (one.key.partition("/")[2], target.texts[0]): (one.size, pixels(one, target))
        for one in samples
        for target in one.targets
    }
    assert got == {
        (one["video"], one["exp_as_used"]): ((one["height"], one["width"]), one["union_mask_pixels"])
        for one in expected("lvvis")["samples"]
    }
    categories = json.loads((home / "train_instances.json").read_text())["categories"]
    names = {str(one["id"]): one["name"].replace("_", " ") for one in categories}
    assert all(names[target.key] == target.texts[0] for one in samples for target in one.targets)


# ---- ReVOS and ReasonVOS ---------------------------------------------------------------------------------------------
@each("split", expected("revos"))
def test_revos(split: str) -> None:
    want, got = expected("revos")[split], asked(f"revos|{split}", "revos")
    check(got, want["samples"], "union_mask_pixels")
    for one in want["samples"]:
        sample, target = got[one["video"], one["exp_id"]]
        assert target.kind == KINDS[one["type_id"]]
        assert (target.kind == NO_TARGET) == (not one["anno_id"]) == (not any(pixels(sample, target)))


def test_reasonvos() -> None:
    got = asked("reasonvos|test", "reasonvos")
    samples = expected("reasonvos")["samples"]
    check(got, samples, "gt_pixels", names={"exp": "exp_text"})
    for one in samples:
        sample, target = got[one["video"], str(one["exp_id"])]
        assert sample.num_frames == one["n_frames"] and len(pixels(sample, target)) == one["n_gt_frames"]
