"""gRefCOCO and Ref-ZOM of the toy world: one thing, several or nothing, in the real layout, and no text tells which."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest

from seglm.dataset.check import check_source
from seglm.dataset.sources import open_source
from seglm.dataset.toy.layouts.grefer import GREFCOCO, expressions
from seglm.dataset.toy.layouts.shots import Shot, make_shot
from seglm.dataset.toy.scenes import COLOURS, Split, visible_masks
from seglm.dataset.toy.shapes import SHAPES
from seglm.dataset.toy.words import Phrase, is_held_out
from seglm.dataset.toy.write import read_manifest, scene_of
from tests.toy.text_only import accuracy, main

SPLITS = [f"grefcoco|unc|{split}" for split in GREFCOCO.splits] + ["refzom|final|train", "refzom|final|test"]
TRAIN_SHOTS, VAL_SHOTS = 500, 220
Said = list[tuple[Shot, Phrase]]


def said(split: Split, *, shots: int, first: int = 1) -> Said:
    made = (make_shot(first + n, world_seed=0, split=split, size=128) for n in range(shots))
    return [(shot, phrase) for shot, phrases in expressions(made, GREFCOCO) for phrase in phrases]


@pytest.fixture(scope="module")
def train() -> Said:
    return said("train", shots=TRAIN_SHOTS)


@pytest.fixture(scope="module")
def val() -> Said:
    return said("val", shots=VAL_SHOTS, first=6_000_001)


def labelled(some: Said) -> list[tuple[str, bool]]:
    return [(phrase.text, phrase.kind == "none") for _, phrase in some]


def test_three_tenths_mean_nothing_and_three_tenths_several_things(train: Said, val: Said) -> None:
    for some in (train, val):
        num = Counter(min(len(phrase.targets), 2) for _, phrase in some)
        shares = [num[things] / len(some) for things in (0, 1, 2)]
        assert shares == pytest.approx([0.3, 0.4, 0.3], abs=0.04)
        assert {phrase.kind for _, phrase in some} == {
            "attribute",
            "position",
            "relation",
            "superlative",
            "multi",
            "none",
        }
    assert len(val) / VAL_SHOTS * 200 > 1000  # the pictures of the default world


def test_what_means_nothing_is_said_in_every_form_as_often_as_elsewhere(train: Said) -> None:
    """The coin falls alike for all forms: of each, three tenths have no referent."""
    forms, empty = Counter(p.form for _, p in train), Counter(p.form for _, p in train if p.kind == "none")
    for form, num in forms.items():
        assert empty[form] / num == pytest.approx(0.3, abs=4 * (0.21 / num) ** 0.5), form


def test_the_words_alone_do_not_tell_whether_anything_fits(train: Said, val: Said) -> None:
    got = accuracy(labelled(train), labelled(val))
    print(f"from the words alone: {got.val:.3f} (area {got.area:.3f}; on what was learnt {got.train:.3f})")
    assert got.val == pytest.approx(0.5, abs=0.045)  # three standard errors
    assert got.area == pytest.approx(0.5, abs=0.05)


def test_words_that_do_tell_would_be_found(train: Said, val: Said) -> None:
    """The same expressions with a leak of the kind that was once there: a bare `red ...` only where there is nothing red."""
    leaky = [
        [(p.text, p.kind == "none" or "red" in p.text.split()) for _, p in part] for part in (train, val)
    ]
    assert accuracy(*leaky).val > 0.6


def test_no_expression_means_everything_and_none_is_said_twice_about_a_picture(train: Said) -> None:
    by_shot: dict[int, list[str]] = {}
    for shot, phrase in train:
        assert len(phrase.targets) < len(shot.scene.things)
        by_shot.setdefault(shot.number, []).append(phrase.text)
    for texts in by_shot.values():
        assert len(texts) == len(set(texts)) <= GREFCOCO.per_image


def test_attributes_of_nothing_fit_nothing_and_training_asks_for_no_held_out_look(train: Said) -> None:
    for shot, phrase in train:
        assert not any(is_held_out(shot.scene.things[i]) for i in phrase.targets)
        words = set(phrase.text.split())
        if phrase.kind == "none" and phrase.form == "attribute":
            looks = [{thing.colour, thing.shape, thing.size, thing.material} for thing in shot.scene.things]
            spoken = words & {*COLOURS, *SHAPES, "small", "medium", "large", "striped", "dotted", "plain"}
            assert spoken and not any(spoken <= look for look in looks), phrase.text


@pytest.mark.parametrize("split", SPLITS)
def test_the_loader_reads_unions_of_things_and_empty_masks(root: Path, split: str) -> None:
    source = open_source(split, root)
    samples = [source.sample(index) for index in range(len(source))]
    targets = [target for sample in samples for target in sample.targets]
    manifest = read_manifest(root)
    assert manifest is not None and len(targets) == manifest.counts[split]
    for sample in samples:
        things = visible_masks(scene_of(root, Path(sample.path)))
        for target in sample.targets:
            [mask] = target.masks([0])
            inside = [thing for thing in things if (thing & mask).any()]
            assert mask.sum() == sum(thing.sum() for thing in inside)
            assert (target.kind == "none") is (not inside) and (target.kind == "multi") is (len(inside) > 1)
    found = check_source(split, root, share=1)
    assert not found.faults and not any("no pixel" in note for note in found.notes)


def read_zom(root: Path) -> list[dict]:
    return pickle.loads((root / "refer_seg/refzom/Ref_ZOM.p").read_bytes())


def test_the_files_are_laid_out_as_the_published_ones(root: Path) -> None:
    folder = root / "refer_seg/grefcoco"
    refs = json.loads((folder / "grefs(unc).json").read_text())
    content = json.loads((folder / "instances.json").read_text())
    ids = {annotation["id"] for annotation in content["annotations"]}
    for ref in refs:
        assert ref["no_target"] is (ref["ann_id"] == [-1]) is (ref["category_id"] == [-1])
        assert len(ref["ann_id"]) == len(ref["category_id"]) and ids >= set(ref["ann_id"]) - {-1}
        assert ref["sent_ids"] == [sentence["sent_id"] for sentence in ref["sentences"]]
    assert {ref["split"] for ref in refs} == set(GREFCOCO.splits)
    assert not any(ref["ann_id"] for ref in read_zom(root) if ref["source"] == "zero")
    shapes = {one["iscrowd"]: type(one["segmentation"]) for one in content["annotations"]}
    assert shapes == {0: list, 1: dict}
    crowd = next(one["segmentation"] for one in content["annotations"] if one["iscrowd"])
    assert isinstance(crowd["counts"], list)


def test_the_accuracy_from_the_words_alone_is_printed_for_a_written_world(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(root)
    assert "from the words alone: 0." in capsys.readouterr().out
