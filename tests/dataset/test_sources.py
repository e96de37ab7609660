"""Data sets are found by name, in the places people keep them, and wrong ones are refused with what would be right."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm.dataset import sources
from seglm.dataset.description import Description, is_for_training
from seglm.dataset.faults import Fault
from seglm.dataset.readers.refer import is_in
from seglm.dataset.sources import (
    check_families,
    check_names,
    describe,
    descriptions,
    held_out_images,
    loaders,
    open_source,
    open_sources,
    top_folders,
)
from seglm.dataset.toy.write_videos import write_videos
from tests.dataset.mini import MINI, copy_of, world

NAMES = (
    "ReasonSeg",
    "ade20k",
    "cocostuff",
    "grefcoco",
    "llava_instruct_150k",
    "mapillary",
    "paco_lvis",
    "pascal_part",
    "refclef",
    "refcoco",
    "refzom",
)


def test_every_file_in_the_folder_is_a_data_set() -> None:
    files = {path.stem for path in (Path(__file__).parents[2] / "dataset" / "sources").glob("*.py")} - {
        "__init__"
    }
    assert len(descriptions()) == len(files)
    assert {*NAMES, "refcoco+", "refcocog"} <= {about.name for about in descriptions()}


@pytest.mark.parametrize(
    "spec, want",
    [
        ("refcoco|unc|testA", ("refcoco", "unc|testA")),
        ("refcoco|testa", ("refcoco", "unc|testA")),
        ("refcoco", ("refcoco", "unc|train")),
        ("refcocop", ("refcoco+", "unc|train")),
        ("REFCOCO_PLUS|unc|val", ("refcoco+", "unc|val")),
        ("refcocog|google|val", ("refcocog", "google|val")),
        ("reasonseg|train_val", ("ReasonSeg", "train_val")),
        ("ade20k", ("ade20k", "training")),
        ("grefcoco|unc|testB", ("grefcoco", "unc|testB")),
        ("refzom|test", ("refzom", "final|test")),
    ],
)
def test_a_spec_names_a_data_set_and_a_split(spec: str, want: tuple[str, str]) -> None:
    about, split = describe(spec)
    assert (about.name, split) == want


@pytest.mark.parametrize(
    "spec, message",
    [
        ("refcocoq", "unknown data set 'refcocoq'; did you mean refcoco"),
        (
            "refcoco|unc|test",
            "split 'unc.test' is not permitted; permitted are unc.train, unc.val, unc.testA",
        ),
        ("grefcoco|google|val", "permitted are unc.train, unc.val, unc.testA, unc.testB"),
        ("refzom|final|val", "split 'final.val' is not permitted; permitted are final.train, final.test"),
        ("ReasonSeg|dev", "permitted are train, val, test, train_val"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_is_permitted(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        describe(spec)


@pytest.mark.parametrize(
    "split, part, want",
    [
        ("testA", "testA", True), ("testB", "testA", False), ("testAB", "testA", True), ("testAB", "testB", True),
        ("testBC", "testA", False), ("testBC", "test", True), ("train", "train", True), ("val", "train", False),
        ("train", "testA", False),
    ],
)  # fmt: skip
def test_letters_decide_which_test_split_a_ref_belongs_to(split: str, part: str, want: bool) -> None:
    assert is_in(split, part) is want


def test_an_absent_data_set_is_a_fault_that_shows_the_expected_tree(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"refcoco\|unc\|val: missing") as caught:
        open_source("refcoco|unc|val", tmp_path)
    for line in ("refer_seg/refcoco/instances.json", "train2014", "https://"):
        assert line in str(caught.value)


def test_refer_data_is_found_below_refer_seg_and_below_the_root_itself() -> None:
    training, validation = MINI / "refcoco", MINI / "refcoco" / "refer_seg"
    keys = [open_source("refcoco|unc|val", root).sample(0).key for root in (training, validation)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    "place", ["coco/train2014", "train2014", "images/train2014", "refer_seg/images/train2014"]
)
def test_images_of_2014_are_found_in_the_places_people_keep_them(place: str, tmp_path: Path) -> None:
    root = copy_of("refcoco", tmp_path)
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "refer_seg/images/mscoco/images/train2014", root / place)
    sample = open_source("refcoco|unc|val", root).sample(0)
    assert sample.frame(0).shape == (*sample.size, 3)


def test_opening_looks_at_no_image(tmp_path: Path) -> None:
    root = copy_of("refcoco", tmp_path)
    for image in (root / "refer_seg/images/mscoco/images/train2014").iterdir():
        image.unlink()
    assert len(open_source("refcoco|unc|val", root)) == 2


def test_a_source_goes_to_a_worker_and_gives_the_same_samples() -> None:
    source = open_source("refcoco|unc|val", MINI / "refcoco")
    sent = pickle.loads(pickle.dumps(source))
    assert [sent.sample(n).key for n in range(len(sent))] == [
        source.sample(n).key for n in range(len(source))
    ]


def test_data_may_bring_its_own_class_names(tmp_path: Path) -> None:
    root = copy_of("ade20k", tmp_path)
    (root / "ade20k" / "classes.json").write_text(json.dumps([f"Thing {number}" for number in range(150)]))
    texts = {target.texts for target in open_source("ade20k", root).sample(0).targets}
    assert texts == {("thing 0",), ("thing 3",), ("thing 12",), ("thing 149",)}


def test_labels_beyond_the_classes_are_a_fault_that_names_the_sample(tmp_path: Path) -> None:
    root = copy_of("ade20k", tmp_path)
    (root / "ade20k" / "classes.json").write_text(json.dumps(["one", "two"]))
    with pytest.raises(
        Fault, match=r"ade20k\|training/ADE_train_00000001: labels \[4, 13, 150\], but 2 classes"
    ):
        open_source("ade20k", root).sample(0)


def test_the_full_ade20k_release_is_recognised(tmp_path: Path) -> None:
    root = copy_of("ade20k", tmp_path)
    Image.fromarray(np.zeros((96, 128, 3), np.uint8)).save(
        root / "ade20k/annotations/training/ADE_train_00000001.png"
    )
    with pytest.raises(Fault, match="mode RGB.*another release"):
        open_source("ade20k", root).sample(0)


def test_reasonseg_reads_cp1252_and_kinds(tmp_path: Path) -> None:
    root = copy_of("reasonseg", tmp_path)
    file = next((root / "reason_seg/ReasonSeg/val").glob("*.json"))
    content = json.loads(file.read_text()) | {
        "text": ["the caf\u00e9", "the place"],
        "kind": ["reasoning", "class"],
    }
    file.write_bytes(json.dumps(content, ensure_ascii=False).encode("cp1252"))
    source = open_source("ReasonSeg|val", root)
    sample = next(one for one in map(source.sample, range(len(source))) if one.key.endswith(file.stem))
    assert sample.targets[0].texts == ("the caf\u00e9", "the place")
    assert (sample.targets[0].kind, sample.targets[0].kinds) == ("reasoning", ("reasoning", "class"))


def test_exclude_val_leaves_scored_images_out_of_every_training_source(tmp_path: Path) -> None:
    root = world(tmp_path, "refcoco", "refcoco_plus", "refcocog", "coco_stuff")
    scored = held_out_images(root)
    some = next(iter(scored))
    for folder, ending in (("cocostuff", "png"), ("coco", "jpg")):  # a scored image among those of COCO-Stuff
        file = root / folder / "train2017" / f"000000000037.{ending}"
        shutil.copy(file, file.with_name(f"{some:012d}.{ending}"))
    names = {"sem_seg": ("cocostuff",), "refer_seg": ("refcoco|google|train",)}
    for exclude_val in (False, True):
        for source in open_sources(root, names, exclude_val=exclude_val):
            images = {int(Path(source.sample(n).path).stem.rpartition("_")[2]) for n in range(len(source))}
            assert bool(images & scored) is not exclude_val, source.name


def test_a_family_can_be_drawn_from_in_groups_at_rates_of_their_own(tmp_path: Path) -> None:
    """VideoLISA's run_train.sh: `refer_seg_video` and `davis` are both videos with expressions."""
    write_videos(tmp_path, images=60, val_images=0, test_images=0, size=64)
    groups = {"refer_seg_video": ("mevis",), "davis": ("davis",), "vos": ("ytvos",)}
    found = open_sources(tmp_path, groups)
    assert [(source.name, source.family) for source in found] == [
        ("mevis|train", "refer_seg_video"), ("ref_davis17|train", "davis"), ("youtube_vos|train", "vos"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="'ytvos' belongs to vos, not to davis"):
        open_sources(tmp_path, {"davis": ("ytvos",)})
    with pytest.raises(ValueError, match="'mevis' belongs to ref_vos and refer_seg_video, not to davis"):
        open_sources(tmp_path, {"davis": ("mevis",)})
    assert len(open_sources(tmp_path, groups, exclude_val=True)) == 3, (
        "no image of COCO, so RefCOCO is not asked for"
    )


def test_every_name_is_checked_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "open_source", lambda *_, **__: pytest.fail("a data set is opened"))
    with pytest.raises(ValueError, match="unknown data set 'refcco'; did you mean refcoco"):
        open_sources(tmp_path, {"sem_seg": ("ade20k",), "refer_seg": ("refcoco", "refcco")})


def test_a_family_that_nobody_draws_from_is_a_slip_unless_some_data_set_is_of_it() -> None:
    check_families(["sem_seg", "davis", "refer_seg_video", "mine"], drawn=["mine"])
    with pytest.raises(ValueError, match="data.sets.sem_sge is drawn from by nobody; .* davis, .*sem_seg"):
        check_families(["sem_sge"], drawn=["sem_seg"])


@pytest.mark.parametrize("about", [one for one in descriptions() if one.family in ("ref_vos", "vos")])
def test_what_is_scored_stays_out_of_training_unless_it_is_asked_for(about: Description) -> None:
    scored = {split for split in about.scored_splits if not is_for_training(split)}
    _, drawn = describe(about.name)
    if about.name == "reasonvos":
        assert about.splits == ("test",), "there is nothing else of it"
    else:
        assert is_for_training(drawn) and drawn not in scored
    for split in scored:
        assert describe(f"{about.name}|{split}")[1] == split


def test_a_benchmark_that_is_asked_for_is_trained_on_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_videos(tmp_path, images=20, val_images=4, test_images=0, size=64)
    [first, second] = open_sources(tmp_path, {"refer_seg_video": ("mevis", "mevis|valid_u")})
    assert (first.name, second.name) == ("mevis|train", "mevis|valid_u")
    [said] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert said.startswith("mevis|valid_u is trained on, as it is asked for")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SIDE = 3", "own_leaves.py has no DESCRIPTION or no `load`; every file there is a data set"),
        (
            "from seglm.dataset.sources.mevis import DESCRIPTION, load",
            "the name 'mevis' belongs to mevis .https",
        ),
    ],
)
def test_a_file_of_one_s_own_that_is_no_new_data_set_is_told(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_leaves.py").write_text(text)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "seglm.dataset.sources.own_leaves", raising=False)
    with pytest.raises(ValueError, match=told):
        loaders.__wrapped__()
    monkeypatch.delitem(sys.modules, "seglm.dataset.sources.own_leaves")


def test_a_description_without_a_split_is_refused() -> None:
    about, _ = describe("mevis")
    with pytest.raises(ValueError, match="`splits` is empty"):
        replace(about, splits=(), scored=None)


def test_masks_that_only_a_server_has_cannot_be_trained_on() -> None:
    with pytest.raises(
        ValueError, match=r"'mevis\|valid' cannot be trained on: .* train, valid_u, v2\|train"
    ):
        check_names({"ref_vos": ("mevis", "mevis|valid")})


def test_a_name_of_another_family_is_refused() -> None:
    with pytest.raises(ValueError, match="'refcoco' belongs to refer_seg, not to sem_seg"):
        open_sources(MINI / "refcoco", {"sem_seg": ("refcoco",)})


@pytest.mark.parametrize(
    "line, place",
    [
        ("ade20k/images/{training,validation}/*.jpg", "ade20k/images"),
        (
            "reason_seg/ReasonSeg/explanatory/train.json (optional)",
            "reason_seg/ReasonSeg/explanatory/train.json",
        ),
        ("refer_seg/images/COCO_train2014_*.jpg", "refer_seg/images"),
        ("*.png", "."),
    ],
)
def test_what_has_a_fixed_name_in_a_tree_can_be_looked_for(line: str, place: str) -> None:
    about = Description(("things",), "things", ("train",), (line,), "here", {})
    assert [str(one) for one in about.places] == [place]


def test_the_folders_of_a_data_root_are_those_of_the_descriptions() -> None:
    """LISA's, whose README says how the folder `dataset` looks (dvlab-research/LISA at 3cb2d43)."""
    assert set(top_folders()) >= {
        "ade20k", "coco", "cocostuff", "llava_dataset", "mapillary", "reason_seg", "refer_seg", "vlpart",
    }  # fmt: skip


@pytest.mark.parametrize(
    "spec, name, file",
    [
        ("ReasonSeg|val", "reasonseg", "reason_seg/ReasonSeg/val/052398882_val.json"),
        ("refcoco|unc|val", "refcoco", "refer_seg/refcoco/refs(unc).p"),
        ("ade20k|validation", "ade20k", "ade20k/annotations/validation/ADE_val_00000001.png"),
        ("mevis|valid_u", "mevis", "mevis/valid_u/mask_dict.json"),
        ("ref_davis17|valid", "ref_davis17", "DAVIS17/valid/Annotations/blackswan/00000.png"),
        ("reasonvos|test", "reasonvos", "ReasonVOS/Annotations/BURST_YFCC100M-v_9a8b_1/00002.png"),
    ],
)
def test_annotations_that_were_corrected_in_place_are_told_from_those_before(
    spec: str, name: str, file: str, tmp_path: Path
) -> None:
    root = copy_of(name, tmp_path / "here")
    before = open_source(spec, root).fingerprint()
    shutil.copytree(root, tmp_path / "there")  # with their times, as `cp -p`, rsync and tar keep them
    assert open_source(spec, tmp_path / "there").fingerprint() == before
    (root / file).touch()
    assert open_source(spec, root).fingerprint() != before
