"""The toy world on disk: true masks, real formats, nothing shared between the splits."""

import hashlib
import json
import pickle
import pickletools
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from seglm.dataset.toy import __main__ as command
from seglm.dataset.toy import write as world_module
from seglm.dataset.toy.layouts import reasonseg, refer, semantic
from seglm.dataset.toy.layouts.shots import Shot, make_shot, mask_of, positives
from seglm.dataset.toy.scenes import Split, draw, parts, visible_masks
from seglm.dataset.toy.words import HELD_OUT_LOOKS
from seglm.dataset.toy.world import Beside, Manifest
from tests.toy.fill import filled, painted
from tests.toy.world import FEW, IMAGES, SEED

COCO_REFS = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}


def shot_of(number: int, split: str) -> Shot:
    own: Split = "train" if split == "train" else "val" if split == "val" else "test"
    return make_shot(number, world_seed=SEED, split=own, size=128)


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def read_refs(root: Path, name: str, split_by: str) -> list[dict]:
    return pickle.loads((root / "refer_seg" / name / f"refs({split_by}).p").read_bytes())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(root: Path, tmp_path: Path) -> None:
    world_module.write(tmp_path / "again", images=IMAGES, val_images=FEW, test_images=FEW, seed=SEED)
    world_module.write(tmp_path / "other", images=IMAGES, val_images=FEW, test_images=FEW, seed=SEED + 1)

    def tree(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    assert tree(root) == tree(tmp_path / "again")
    pictures = [value for name, value in tree(root).items() if name.endswith(".jpg")]
    assert not set(pictures) & {
        value for name, value in tree(tmp_path / "other").items() if name.endswith(".jpg")
    }


def test_the_same_world_is_kept_and_another_one_refused(root: Path) -> None:
    before = (root / "toy_world.json").stat().st_mtime_ns
    kept = world_module.write(root, images=IMAGES, val_images=FEW, test_images=FEW, seed=SEED)
    assert kept == world_module.read_manifest(root)
    assert (root / "toy_world.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"another toy world: seed 3 \(wanted 9\).*rm -r"):
        world_module.write(root, images=IMAGES, val_images=FEW, test_images=FEW, seed=9)
    with pytest.raises(SystemExit, match="error: .*another toy world"):
        command.main(["--dataset_dir", str(root), "--seed", "9"])


@pytest.mark.parametrize("seed", [SEED, 9])
def test_a_world_that_another_process_has_written_meanwhile_is_as_good_or_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    home, numbers = tmp_path / "data", {"images": IMAGES, "val_images": FEW, "test_images": FEW, "seed": seed}

    def overtaken(*_: object) -> dict[str, int]:
        home.mkdir()
        shutil.copy(root / "toy_world.json", home)
        return {}

    monkeypatch.setattr(world_module, "_write_sets", overtaken)
    if seed == SEED:
        assert world_module.write(home, **numbers) == world_module.read_manifest(root)
    else:
        with pytest.raises(ValueError, match="data holds another toy world: seed 3"):
            world_module.write(home, **numbers)
    assert list(tmp_path.iterdir()) == [home]
    wanted = Manifest(1, 2, 3, 4, 5, "", {})

    def part(_: Path) -> dict[str, int]:
        (home / "part.json").write_text(json.dumps(asdict(wanted)))
        return {}

    assert Beside("part", "part.json", ["a"]).write(home, wanted, part) == wanted


def test_a_folder_with_other_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ade20k").mkdir()
    with pytest.raises(ValueError, match="is not empty and holds no toy world; give another --dataset_dir"):
        world_module.write(tmp_path)


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a toy world of 3 train"):
        world_module.write(tmp_path / "data", images=3)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(world_module, "write_pictures", full_disk)
    with pytest.raises(OSError, match="no space"):
        world_module.write(tmp_path / "data", images=IMAGES)
    assert list(tmp_path.iterdir()) == []


def test_no_picture_is_in_two_splits_of_any_data_sets(root: Path) -> None:
    splits: dict[str, set[str]] = {}
    split_of = {"training": "train", "train2017": "train", "train": "train", "JPEGImages": "train"}
    split_of |= {"validation": "val", "val": "val", "test": "test"}
    by_image = {}
    for name, split_by in (*COCO_REFS.items(), ("refclef", "unc")):
        names = {
            image["id"]: image["file_name"]
            for image in read_json(root / f"refer_seg/{name}/instances.json")["images"]
        }
        for ref in read_refs(root, name, split_by):
            held = ref["split"] if ref["split"] in ("train", "val") else "test"
            assert by_image.setdefault(names[ref["image_id"]], held) == held
    for path in root.rglob("*.jpg"):
        folder = next((part for part in reversed(path.parts[:-1]) if part in split_of), "")
        split = split_of.get(folder) or by_image.get(path.name)
        if split:
            splits.setdefault(split, set()).add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert {name: len(found) > 5 for name, found in splits.items()} == {
        "train": True,
        "val": True,
        "test": True,
    }
    assert (
        not splits["train"] & splits["val"]
        and not splits["train"] & splits["test"]
        and not splits["val"] & splits["test"]
    )


def test_coco_pictures_have_both_names_and_look_like_their_scene(root: Path) -> None:
    names = sorted(path.name for path in (root / "coco/train2017").iterdir())
    assert len(names) == round(0.4 * IMAGES)
    for name in names:
        twin = root / "refer_seg/images/mscoco/images/train2014" / f"COCO_train2014_{name}"
        assert twin.read_bytes() == (root / "coco/train2017" / name).read_bytes()
    picture = np.asarray(Image.open(root / "coco/train2017" / names[0]).convert("RGB")).astype(int)
    assert np.abs(picture - draw(shot_of(int(names[0][:-4]), "train").scene)).mean() < 4


def test_the_scene_of_every_picture_is_found_by_its_name(root: Path) -> None:
    pictures = sorted(root.rglob("*.jpg"))
    for path in pictures[::5]:
        scene = world_module.scene_of(root, path)
        picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert np.abs(picture - draw(scene)).mean() < 4
    with pytest.raises(ValueError, match=r"x\.jpg is no picture of a toy world"):
        world_module.scene_of(root, Path("x.jpg"))


@pytest.mark.parametrize(("name", "split_by"), [*COCO_REFS.items(), ("refclef", "unc")])
def test_refs_name_the_thing_whose_mask_their_annotation_holds(root: Path, name: str, split_by: str) -> None:
    content = read_json(root / f"refer_seg/{name}/instances.json")
    annotations = {a["id"]: a for a in content["annotations"]}
    refs = read_refs(root, name, split_by)
    assert {ref["split"] for ref in refs} >= {"train", "val"}
    for ref in refs:
        shot, annotation = shot_of(ref["image_id"], ref["split"]), annotations[ref["ann_id"]]
        index = int(annotation["id"].split("_")[1]) - 1 if name == "refclef" else annotation["id"] % 10
        mask = visible_masks(shot.scene)[index]
        segmentation = annotation["segmentation"]
        got = coco_mask.decode(segmentation).any(axis=2) if name == "refclef" else filled(segmentation, mask)
        assert (got == mask).all() and annotation["area"] == mask.sum()
        said = {phrase.text: phrase for phrase in positives(shot, name)}
        for sentence in ref["sentences"]:
            phrase = said[sentence["sent"]]
            assert (
                phrase.targets == (index,)
                and phrase.part is None
                and phrase.kind == sentence["kind"] != "none"
            )
            assert sentence["tokens"] == sentence["raw"].split()


def test_refs_are_python_2_pickles_that_make_nothing_but_builtins(root: Path) -> None:
    for name, split_by in (*COCO_REFS.items(), ("refclef", "unc")):
        data = (root / f"refer_seg/{name}/refs({split_by}).p").read_bytes()
        used = {opcode.name for opcode, _, _ in pickletools.genops(data)}
        assert "SHORT_BINSTRING" in used
        assert not used & {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINUNICODE", "SHORT_BINUNICODE"}


def test_refcoco_plus_never_says_where_a_thing_is(root: Path) -> None:
    words = {
        word for ref in read_refs(root, "refcoco+", "unc") for s in ref["sentences"] for word in s["tokens"]
    }
    assert words and not words & refer.PLACE_WORDS


def test_test_a_and_test_b_hold_different_shapes(root: Path) -> None:
    shapes = {c["id"]: c["name"] for c in read_json(root / "refer_seg/refcoco/instances.json")["categories"]}
    found: dict[str, set[str]] = {"testA": set(), "testB": set()}
    for ref in read_refs(root, "refcoco", "unc"):
        found.get(ref["split"], set()).add(shapes[ref["category_id"]])
    assert found["testA"] <= set(refer.TEST_SHAPES["testA"]) and not found["testA"] & found["testB"]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_reasonseg_shapes_paint_what_the_texts_ask_for(root: Path, split: str) -> None:
    files = sorted((root / "reason_seg/ReasonSeg" / split).glob("*.json"))
    assert len(files) == len(list((root / "reason_seg/ReasonSeg" / split).glob("*.jpg"))) >= 3
    for path in files:
        record, shot = read_json(path), shot_of(int(path.stem.split("_")[0]), split)
        said = {phrase.text: phrase for phrase in positives(shot, "reasonseg", rounds=reasonseg.ROUNDS)}
        label = painted(record["shapes"], (128, 128))
        assert len(record["text"]) == len(record["kind"]) >= 1
        for text, kind in zip(record["text"], record["kind"], strict=True):
            assert said[text].kind == kind != "none" and said[text].is_sentence == record["is_sentence"]
            mask = mask_of(shot.scene, said[text])
            assert mask[label == 1].all() and (label[mask] > 0).all()


def test_reasonseg_has_ignored_spots_sentences_and_several_texts() -> None:
    shots = [shot_of(number, "train") for number in range(60)]
    chosen = [(shot, reasonseg._choose(shot)) for shot in shots]
    records = [reasonseg._record(shot, said, "x.jpg") for shot, said in chosen if said]
    ignored = [any("ignore" in shape["label"] for shape in record["shapes"]) for record in records]
    assert 0.03 < np.mean(ignored) < 0.35
    assert {record["is_sentence"] for record in records} == {True, False}
    assert max(len(record["text"]) for record in records) > 1
    assert 0.15 < np.mean([record["kind"][0] == "reasoning" for record in records]) < 0.6


def test_no_phrase_means_everything_in_its_picture() -> None:
    for number in range(30):
        shot = shot_of(number, "train")
        assert all(
            p.part or len(p.targets) < len(shot.scene.things) for p in positives(shot, "any", rounds=2)
        )


def test_explanations_belong_to_training_pictures(root: Path) -> None:
    folder = root / "reason_seg/ReasonSeg"
    for record in read_json(folder / "explanatory/train.json"):
        item = read_json(folder / "train" / record["json"])
        assert (folder / "train" / record["image"]).is_file()
        assert item["text"][0] == record["query"] and record["outputs"].startswith("It is the")


def test_semantic_labels_are_the_classes_of_the_things(root: Path) -> None:
    assert tuple(read_json(root / "ade20k/classes.json")) == semantic.ADE_CLASSES
    assert tuple(read_json(root / "cocostuff/classes.json")) == semantic.STUFF_CLASSES
    config = [label["readable"] for label in read_json(root / "mapillary/config_v2.0.json")["labels"]]
    patterns = {  # files -> the class of a thing, the offset of the stored value
        "ade20k/annotations/*/*.png": (lambda t: semantic.ADE_CLASSES.index(f"{t.colour} {t.shape}"), 1),
        "cocostuff/train2017/*.png": (lambda t: semantic.STUFF_CLASSES.index(t.shape), 0),
        "mapillary/*/v2.0/labels/*.png": (lambda t: config.index(f"{t.colour.capitalize()} Thing"), 0),
    }
    for pattern, (class_of, offset) in patterns.items():
        paths = sorted(root.glob(pattern))
        assert paths
        for path in paths:
            split = "val" if "val" in str(path.relative_to(root)) else "train"
            shot = shot_of(int(path.stem.split("_")[-1].removeprefix("toy")), split)
            labels = np.asarray(Image.open(path))
            assert labels.dtype == np.uint8 and Image.open(path).mode == (
                "P" if "mapillary" in pattern else "L"
            )
            for thing, mask in zip(shot.scene.things, visible_masks(shot.scene), strict=True):
                is_hidden = (
                    "ade20k" in pattern and split == "train" and (thing.colour, thing.shape) in HELD_OUT_LOOKS
                )
                assert set(labels[mask]) == {0 if is_hidden else class_of(thing) + offset}


@pytest.mark.parametrize(
    ("file", "whole"),
    [("vlpart/paco/annotations/paco_lvis_v1_train.json", True), ("vlpart/pascal_part/train.json", False)],
)
def test_parts_are_the_parts_of_the_only_thing_of_their_class(root: Path, file: str, whole: bool) -> None:
    content = read_json(root / file)
    names = {category["id"]: category["name"] for category in content["categories"]}
    seen = set()
    for annotation in content["annotations"]:
        look, _, part = names[annotation["category_id"]].partition(":")
        colour, _, shape = ("", "", look.split("_(")[0]) if whole else look.partition(" ")
        shot = shot_of(annotation["image_id"], "train")
        fits = [i for i, t in enumerate(shot.scene.things) if t.shape == shape and colour in ("", t.colour)]
        assert len(fits) == 1 and (shot.scene.things[fits[0]].colour, shape) not in HELD_OUT_LOOKS
        mask = parts(shot.scene, fits[0])[part] if part else visible_masks(shot.scene)[fits[0]]
        code = annotation["segmentation"]
        if isinstance(code, list):
            got = filled(code, mask)
        else:
            plain = isinstance(code["counts"], list)
            got = coco_mask.decode(coco_mask.frPyObjects(code, *mask.shape) if plain else code) > 0
        assert (got == mask).all()
        seen.add(bool(part))
    assert seen == ({True, False} if whole else {True})


def test_conversations_show_their_picture_once_and_alternate(root: Path) -> None:
    records = json.loads((root / "llava_dataset/llava_instruct_150k.json").read_text())
    assert records
    for record in records:
        turns = record["conversations"]
        assert (root / "coco/train2017" / record["image"]).is_file()
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert (
            "".join(turn["value"] for turn in turns).count("<image>")
            == turns[0]["value"].count("<image>")
            == 1
        )
