"""The real loaders read the toy world, and what they read is what the scenes hold."""

from pathlib import Path

import numpy as np
import pytest

from seglm.dataset.sources import open_source
from seglm.dataset.toy.scenes import parts, visible_masks
from seglm.dataset.toy.write import read_manifest, scene_of
from seglm.utils.types import Sample

REFER = ("refcoco|unc", "refcoco+|unc", "refcocog|umd", "refclef|unc")
SEMANTIC = {
    "ade20k|training": "ade20k|train",
    "ade20k|validation": "ade20k|val",
    "mapillary|training": "mapillary|train",
}
SEMANTIC |= {"cocostuff|train2017": "cocostuff|train"}


def samples(spec: str, root: Path) -> list[Sample]:
    source = open_source(spec, root)
    return [source.sample(index) for index in range(len(source))]


def mask_bytes(masks: np.ndarray) -> set[bytes]:
    return {np.ascontiguousarray(mask).tobytes() for mask in masks}


@pytest.mark.parametrize("made_by", REFER)
@pytest.mark.parametrize("split", ["train", "val"])
def test_every_ref_is_a_whole_thing_and_every_sentence_has_its_kind(
    root: Path, made_by: str, split: str
) -> None:
    found = samples(f"{made_by}|{split}", root)
    manifest = read_manifest(root)
    assert manifest is not None
    assert (
        sum(len(t.texts) for sample in found for t in sample.targets) == manifest.counts[f"{made_by}|{split}"]
    )
    for sample in found:
        things = mask_bytes(visible_masks(scene_of(root, Path(sample.path))))
        for target in sample.targets:
            assert target.masks([0])[0].tobytes() in things
            assert len(target.kinds) == len(target.texts) and "none" not in target.kinds and all(target.kinds)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_reasonseg_asks_for_things_or_parts_outside_of_what_is_ignored(root: Path, split: str) -> None:
    found = samples(f"ReasonSeg|{split}", root)
    assert (
        len(found) == {"train": 8, "val": 8, "test": 4}[split]
    )  # two fifths of training's, twice val's, all of test's
    for sample in found:
        scene = scene_of(root, Path(sample.path))
        [target] = sample.targets
        mask = target.masks([0])[0]
        ignore = np.zeros_like(mask) if sample.ignore is None else sample.ignore([0])[0]
        assert mask.any() and not (mask & ignore).any()
        assert len(target.kinds) == len(target.texts) and set(target.kinds) == {target.kind}
        if target.kind == "part":
            pieces = [p for i in range(len(scene.things)) for p in parts(scene, i).values()]
            assert any((piece & ~ignore == mask).all() for piece in pieces)
        else:
            inside = [thing for thing in visible_masks(scene) if (thing & mask).any()]
            assert (np.any(inside, axis=0) & ~ignore == mask).all()


@pytest.mark.parametrize("spec", SEMANTIC)
def test_each_class_is_the_union_of_its_things(root: Path, spec: str) -> None:
    found = samples(spec, root)
    manifest = read_manifest(root)
    assert manifest is not None and len(found) == manifest.counts[SEMANTIC[spec]]
    for sample in found:
        scene = scene_of(root, Path(sample.path))
        masks = visible_masks(scene)
        for target in sample.targets:
            [name] = target.texts
            if name == "ground":
                want = ~masks.any(axis=0)
            else:
                looks = [f"{thing.colour} {thing.shape} {thing.colour} thing" for thing in scene.things]
                want = masks[[name in look for look in looks]].any(axis=0)
            assert (target.masks([0])[0] == want).all()


@pytest.mark.parametrize("spec", ["paco_lvis|train", "pascal_part|train"])
def test_part_sets_hold_things_and_parts(root: Path, spec: str) -> None:
    found = samples(spec, root)
    manifest = read_manifest(root)
    assert manifest is not None and sum(len(sample.targets) for sample in found) == manifest.counts[spec]
    for sample in found:
        scene = scene_of(root, Path(sample.path))
        named = {name: mask for i in range(len(scene.things)) for name, mask in parts(scene, i).items()}
        for target in sample.targets:
            name = target.texts[0]
            assert any(name.endswith(part) for part in named) == (len(target.texts) == 2)


def test_conversations_are_turns_without_targets(root: Path) -> None:
    for sample in samples("llava_instruct_150k|train", root):
        assert sample.turns and not sample.targets
        assert all(question and answer and "<image>" not in question for question, answer in sample.turns)


def test_every_training_question_of_reasonseg_has_a_keyword(root: Path) -> None:
    trained = [t.keyword for sample in samples("ReasonSeg|train", root) for t in sample.targets]
    assert trained and all(trained)
    assert all(t.keyword is None for sample in samples("ReasonSeg|val", root) for t in sample.targets)
