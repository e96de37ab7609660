"""gRefCOCO and Ref-ZOM: expressions about one thing, about several and about nothing that is there."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seglm.dataset.check import check_source
from seglm.dataset.faults import Fault
from seglm.dataset.masks import decode
from seglm.dataset.mixture import names
from seglm.dataset.pipeline import choose
from seglm.dataset.sources import held_out_images, open_source, open_sources
from seglm.utils.types import Sample, Target
from tests.dataset.mini import MINI, copy_of, world

FOLDER = Path("refer_seg/grefcoco")
IMAGES = Path("refer_seg/images/mscoco/images")


def only(spec: str, root: Path) -> Sample:
    source = open_source(spec, root)
    assert len(source) == 1
    return source.sample(0)


def change(root: Path, name: str, how: Callable[[Any], None]) -> None:
    """Edits one of the two JSON files of a copy."""
    file = root / FOLDER / name
    content = json.loads(file.read_text())
    how(content)
    file.write_text(json.dumps(content))


def target_of(sample: Sample, text: str) -> Target:
    return next(target for target in sample.targets if text in target.texts)


def test_a_target_is_the_union_of_its_things_and_nothing_where_there_are_none() -> None:
    sample = only("grefcoco|unc|train", MINI / "grefcoco")
    content = json.loads((MINI / "grefcoco" / FOLDER / "instances.json").read_text())
    masks = {one["id"]: decode(one["segmentation"], sample.size) for one in content["annotations"][:4]}
    for text, ids in {
        "the yellow triangle": [570],
        "the yellow triangle and the green star": [570, 571],
        "green and purple ones": [571, 573],  # the second is a crowd: run lengths with a list of counts
        "a purple elephant": [],
    }.items():
        [mask] = target_of(sample, text).masks([0])
        assert mask.dtype == np.bool_ and mask.shape == sample.size
        want = np.any([np.zeros(sample.size, dtype=np.bool_), *(masks[number] for number in ids)], axis=0)
        assert (mask == want).all(), text


def test_every_sentence_is_an_expression_of_its_own_and_one_about_nothing_has_kind_none() -> None:
    sample = only("grefcoco|unc|val", MINI / "grefcoco")
    chosen = choose(sample, 100, np.random.default_rng(0))
    assert len(chosen.targets) == 7
    kinds = {target.texts[0]: target.kind for target in chosen.targets}
    assert {text for text, kind in kinds.items() if kind == "none"} == {
        "a purple elephant",
        "the man holding an umbrella",
    }
    assert all(target.key.isdigit() and len(target.texts) == 1 for target in chosen.targets)


def test_a_kind_in_the_file_is_kept(tmp_path: Path) -> None:
    def name_kinds(refs: Any) -> None:
        for ref in refs:
            ref["sentences"][0]["kind"] = f"of {len(ref['ann_id'])}"

    root = copy_of("grefcoco", tmp_path)
    change(root, "grefs(unc).json", name_kinds)
    assert {target.kind for target in only("grefcoco|unc|val", root).targets} == {"of 1", "of 2", "of 3"}


def test_the_pickle_is_read_where_there_is_no_json(tmp_path: Path) -> None:
    root = copy_of("grefcoco", tmp_path)
    file = root / FOLDER / "grefs(unc).json"
    (root / FOLDER / "grefs(unc).p").write_bytes(pickle.dumps(json.loads(file.read_text()), protocol=2))
    before = only("grefcoco|unc|testA", root)
    file.unlink()
    after = only("grefcoco|unc|testA", root)
    assert [one.texts for one in after.targets] == [one.texts for one in before.targets]


def test_a_polygon_of_two_points_is_no_area_and_the_other_things_stay(tmp_path: Path) -> None:
    def flatten(content: Any) -> None:
        content["annotations"][0]["segmentation"] = [[10.0, 10.0, 20.0, 20.0]]

    root = copy_of("grefcoco", tmp_path)
    whole = only("grefcoco|unc|train", root)
    change(root, "instances.json", flatten)
    sample = only("grefcoco|unc|train", root)
    assert not target_of(sample, "the yellow triangle").masks([0]).any()
    left, before = (
        target_of(one, "the yellow triangle and the green star").masks([0]).sum() for one in (sample, whole)
    )
    assert left == before - target_of(whole, "the yellow triangle").masks([0]).sum()
    found = check_source("grefcoco|unc|train", root, share=1)
    assert not found.faults
    assert found.notes[0].startswith(
        "1 with nothing to ask for or no pixel"
    )  # those about nothing are not among them


@pytest.mark.parametrize(
    "counts, message",
    [
        ([5, 5], "malformed record: run lengths add up to 10 pixels in an image of 96 x 128"),
        (None, "malformed record: a segmentation is polygons or run lengths"),
    ],
)
def test_malformed_run_lengths_are_a_fault_of_their_sample(
    counts: list[int] | None, message: str, tmp_path: Path
) -> None:
    def damage(content: Any) -> None:
        code = content["annotations"][3]["segmentation"]
        content["annotations"][3]["segmentation"] = {
            "size": code["size"],
            **({"counts": counts} if counts else {}),
        }

    root = copy_of("grefcoco", tmp_path)
    change(root, "instances.json", damage)
    with pytest.raises(Fault, match=rf"grefcoco\|unc\|train/919: {message}"):
        open_source("grefcoco|unc|train", root)


@pytest.mark.parametrize("ids", [[570, 99], [-1, 570]])
def test_an_annotation_that_is_not_there_is_named_with_its_ref(ids: list[int], tmp_path: Path) -> None:
    def point_elsewhere(refs: Any) -> None:
        refs[1]["ann_id"] = ids

    root = copy_of("grefcoco", tmp_path)
    change(root, "grefs(unc).json", point_elsewhere)
    gone = [number for number in ids if number != 570]
    with pytest.raises(
        Fault, match=rf"grefcoco\|unc\|train/919: .*refs \[71\] \(ann_id {{71: \[{gone[0]}\]}}\)"
    ):
        open_source("grefcoco|unc|train", root)
    assert len(open_source("grefcoco|unc|val", root)) == 1


def test_a_file_that_is_no_list_or_not_there_is_a_fault_that_names_it(tmp_path: Path) -> None:
    root = copy_of("grefcoco", tmp_path)
    file = root / FOLDER / "grefs(unc).json"
    file.write_text("{}")
    with pytest.raises(
        Fault, match=r"grefcoco\|unc\|val: is a list of refs, not a dict .*grefs\(unc\)\.json"
    ):
        open_source("grefcoco|unc|val", root)
    file.write_text("[")
    with pytest.raises(Fault, match="is no JSON"):
        open_source("grefcoco|unc|val", root)
    file.unlink()
    with pytest.raises(Fault, match=r"missing .*grefs\(unc\)\.json"):
        open_source("grefcoco|unc|val", root)


def test_grefcoco_is_mixed_with_refcoco_and_exclude_val_leaves_its_scored_images_out(tmp_path: Path) -> None:
    root = world(tmp_path, "refcoco", "refcoco_plus", "refcocog")
    without = held_out_images(root)
    world(tmp_path, "grefcoco")
    scored = held_out_images(root)
    own = {928, 937, 946}
    assert own <= scored and not own & without and without < scored
    with pytest.raises(
        Fault, match=r"^data\.exclude_val=true \(--exclude_val\).*say data\.exclude_val=false.*missing "
    ):
        held_out_images(tmp_path / "none")
    refs, others = root / "refer_seg/refcocog/refs(umd).p", root / "refer_seg/refcocog/refs(google).p"
    hidden = refs.rename(refs.with_suffix(".hidden"))  # only Google's split was fetched
    assert others.is_file()
    with pytest.raises(Fault, match=r"^data\.exclude_val=true .*missing .*refs\(umd\)\.p"):
        held_out_images(root)
    hidden.rename(refs)
    moved = {"refer_seg": names("grefcoco|unc|val||refcoco")}
    assert [len(one) for one in open_sources(root, moved)] == [1, 2]
    with pytest.raises(ValueError, match="grefcoco.unc.val: nothing is left of 1 samples"):
        open_sources(root, moved, exclude_val=True)
    kept = open_sources(root, {"refer_seg": names("grefcoco||refcoco")}, exclude_val=True)
    assert [one.name for one in kept] == ["grefcoco|unc|train", "refcoco|unc|train"]


# ---- Ref-ZOM --------------------------------------------------------------------------------------------------------
@pytest.fixture
def refzom(tmp_path: Path) -> Path:
    """The same pictures as Ref-ZOM keeps them: empty lists, two splits, one pickle, images in trainval2014."""
    root = copy_of("grefcoco", tmp_path)
    refs = json.loads((root / FOLDER / "grefs(unc).json").read_text())
    for ref in refs:
        ref["split"] = "train" if ref["split"] == "train" else "test"
        if ref.pop("no_target"):
            ref |= {"ann_id": [], "source": "zero"}
    target = root / "refer_seg/refzom"
    shutil.move(root / FOLDER, target)
    (target / "grefs(unc).json").unlink()
    (target / "Ref_ZOM.p").write_bytes(pickle.dumps(refs))
    shutil.move(root / IMAGES / "train2014", root / IMAGES / "trainval2014")
    return root


def test_refzom_has_an_empty_list_where_nothing_fits(refzom: Path) -> None:
    source = open_source("refzom|final|test", refzom)
    assert (len(source), len(open_source("refzom", refzom))) == (3, 1)
    for index in range(3):
        sample = source.sample(index)
        assert sample.frame(0).shape == (*sample.size, 3)
        for target in sample.targets:
            assert (target.kind == "none") is (not target.masks([0]).any())
    assert sum(target.kind == "none" for target in sample.targets) == 2
    assert check_source("refzom|final|test", refzom, share=1).notes == []


def test_refzom_is_found_with_its_images_in_train2014_too(refzom: Path) -> None:
    shutil.move(refzom / IMAGES / "trainval2014", refzom / IMAGES / "train2014")
    sample = open_source("refzom|final|train", refzom).sample(0)
    assert sample.frame(0).shape == (*sample.size, 3)
