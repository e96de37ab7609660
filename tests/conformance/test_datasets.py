"""Every loader against what was written into the miniature data sets: counts, sizes, texts, pixels of every mask."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from seglm.dataset.readers.parts import wordings
from seglm.dataset.readers.stills import Stills
from seglm.dataset.sources import open_source
from seglm.utils.types import Sample, Target
from tests.conformance.goldens import ROOT, each, facts

REFER = ("refcoco", "refcoco_plus", "refcocog", "refclef", "grefcoco")
OPENCV = tuple(int(part) for part in cv2.__version__.split(".")[:2])
OUTLINES = ">=4.11" if OPENCV >= (4, 11) else "<=4.10"
IMAGE_TAG = "<image>"


def root(name: str) -> Path:
    return ROOT / "datasets" / name


def expected(name: str) -> dict[str, Any]:
    """Empty if the data set is not among these goldens."""
    return facts("datasets", name, "expected.json") if (root(name) / "expected.json").exists() else {}


def by_image(source: Stills) -> dict[str, Sample]:
    """All samples by the name of their image file; every image opens and has the size the sample claims."""
    samples = {}
    for index in range(len(source)):
        sample = source.sample(index)
        assert sample.frame(0).shape == (*sample.size, 3), sample.key
        samples[Path(sample.path).name] = sample
    assert len(samples) == len(source), f"{source.name}: two samples have the same image"
    return samples


def pixels(target: Target) -> int:
    return int(target.masks([0]).sum())


def crc(target: Target) -> int:
    """Of the binary mask, C order, one byte a pixel."""
    return zlib.crc32(np.ascontiguousarray(target.masks([0])[0]).astype(np.uint8).tobytes())


# ---- RefCOCO, RefCOCO+, RefCOCOg, refCLEF, gRefCOCO ---------------------------------------------------------------------------
REFER_SPLITS = [(name, made_by) for name in REFER for made_by in expected(name).get("splitBy", ())]


@each("name, made_by", REFER_SPLITS)
def test_refer_splits_have_the_refs_sentences_and_images_of_the_files(name: str, made_by: str) -> None:
    want = expected(name)
    for split, counts in want["splitBy"][made_by]["splits"].items():
        source = open_source(f"{want['dataset']}|{made_by}|{split}", root(name))
        refs = [target for index in range(len(source)) for target in source.sample(index).targets]
        got = {"refs": len(refs), "sentences": sum(len(ref.texts) for ref in refs), "images": len(source)}
        assert got == counts, source.name


@each("name, made_by", REFER_SPLITS)
def test_refer_sentences_and_masks_are_those_of_the_files(name: str, made_by: str) -> None:
    want = expected(name)["splitBy"][made_by]
    found: dict[str, tuple[Sample, Target]] = {}
    for split in want["splits"]:
        for sample in by_image(
            open_source(f"{expected(name)['dataset']}|{made_by}|{split}", root(name))
        ).values():
            found |= {target.key: (sample, target) for target in sample.targets}
    assert set(found) == {str(ref["ref_id"]) for ref in want["samples"]}
    for ref in want["samples"]:
        sample, target = found[str(ref["ref_id"])]
        assert Path(sample.path) == root(name) / ref["image"]
        assert sample.size == (ref["height"], ref["width"])
        assert list(target.texts) == ref["sentences"]
        assert (pixels(target), crc(target)) == (ref["mask_pixels"], ref["mask_crc32"]), target.key
        assert set(target.kinds) == {"none" if ref.get("no_target") else ""}


# ---- ReasonSeg ------------------------------------------------------------------------------------------------------
@each("split", expected("reasonseg").get("splits", ()))
def test_reasonseg_texts_shapes_and_explanations_are_those_of_the_files(split: str) -> None:
    want = {image["image"]: image for image in expected("reasonseg")["splits"][split]}
    got = by_image(open_source(f"ReasonSeg|{split}", root("reasonseg")))
    assert set(got) == set(want)
    for name, image in want.items():
        sample, (target,) = got[name], got[name].targets
        assert sample.size == (image["height"], image["width"])
        assert (list(target.texts), target.is_sentence) == (image["text"], image["is_sentence"])
        assert (target.explanation is not None) == image["has_explanation"]
        ignored = 0 if sample.ignore is None else int(sample.ignore([0]).sum())
        assert {"target": pixels(target), "ignore": ignored} == image["by_opencv"][OUTLINES], name


@pytest.mark.skipif(not expected("reasonseg"), reason="these goldens have no ReasonSeg")
def test_every_explanation_of_reasonseg_is_joined_to_an_image() -> None:
    source = open_source("ReasonSeg|train", root("reasonseg"))
    told = [source.sample(index).targets[0].explanation for index in range(len(source))]
    assert sum(one is not None for one in told) == expected("reasonseg")["n_explanatory"]


# ---- ADE20K, COCO-Stuff, Mapillary ----------------------------------------------------------------------------------
SEMANTIC = {"ade20k": "ade20k", "coco_stuff": "cocostuff", "mapillary": "mapillary"}


@each("name", [name for name in SEMANTIC if expected(name)])
def test_label_maps_give_the_classes_and_pixels_of_the_files(name: str) -> None:
    images = expected(name)["samples"]
    for split in {image.get("split", "train2017") for image in images}:
        want = {image["image"]: image for image in images if image.get("split", "train2017") == split}
        got = by_image(open_source(f"{SEMANTIC[name]}|{split}", root(name)))
        assert set(got) == set(want)
        for file, image in want.items():
            assert got[file].size == (image["height"], image["width"])
            classes = {target.texts: pixels(target) for target in got[file].targets}
            asked = image["classes_lisa" if "classes_lisa" in image else "classes"]
            assert classes == {(text,): count for text, count in asked.items()}, file


# ---- PACO-LVIS, PASCAL-Part -----------------------------------------------------------------------------------------
@each("name", [name for name in ("paco_lvis", "pascal_part") if expected(name)])
def test_annotations_of_parts_have_the_names_and_masks_of_the_files(name: str) -> None:
    want = {Path(image["image"]).name: image for image in expected(name)["samples"] if image["anns"]}
    got = by_image(open_source(name, root(name)))
    assert set(got) == set(want)
    for file, image in want.items():
        assert got[file].size == (image["height"], image["width"])
        targets = {target.key: target for target in got[file].targets}
        assert set(targets) == {str(one["id"]) for one in image["anns"]}
        for one in image["anns"]:
            target = targets[str(one["id"])]
            assert target.texts == wordings([part.lower() for part in one["name"]])
            assert (pixels(target), crc(target)) == (one["mask_pixels"], one["mask_crc32"]), (file, one["id"])


# ---- LLaVA-Instruct -------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not expected("llava_instruct"), reason="these goldens have no LLaVA-Instruct")
def test_conversations_are_those_of_the_file_without_the_image_tag() -> None:
    want = expected("llava_instruct")
    source = open_source("llava_instruct_150k", root("llava_instruct"))
    assert len(source) == want["n_items"]
    for index, item in enumerate(want["items"]):
        sample = source.sample(index)
        said = [turn["value"].replace(IMAGE_TAG, "").strip() for turn in item["conversations"]]
        assert [text for turn in sample.turns for text in turn] == said
        assert sample.targets == ()
        assert Path(sample.path).name == item["image"]
        assert sample.frame(0).shape == (*sample.size, 3)
