"""The toy world's videos on disk: the files and keys of the real sets, and true masks."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from seglm.dataset.toy.clips import draw_frames, seen
from seglm.dataset.toy.layouts.takes import DAVIS_PALETTE
from seglm.dataset.toy.write_videos import POOLS, take_of
from tests.conformance.goldens import ROOT
from tests.toy.video_forms import FORMS, MINIATURES, check_form


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("file", FORMS)
def test_files_have_the_keys_of_the_real_sets(videos: Path, file: str) -> None:
    check_form(read(videos / file), FORMS[file])


@pytest.mark.parametrize("golden", MINIATURES)
def test_the_keys_and_the_files_are_those_of_the_miniatures(videos: Path, golden: str) -> None:
    there, here = (
        base / name for base, name in zip((ROOT / "datasets" / golden, videos), MINIATURES[golden])
    )
    if not there.is_dir():
        pytest.skip(f"needs the miniature {there}: set SEGLM_GOLDENS to the folder with all of them")
    for file, wanted in FORMS.items():
        root, _, inner = file.partition("/")
        if root == MINIATURES[golden][1]:
            check_form(read(there / inner), wanted)
    sorts = [
        {_sort(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}
        for base in (there, here)
    ]
    # The miniature of LV-VIS has no val split, that of MeViS is its first release; here are both.
    more = {sort for sort in sorts[1] - sorts[0] if "val" not in sort and "_v2" not in sort}
    assert sorts[0] <= sorts[1] and more == set()


def _sort(path: Path) -> str:
    """A file's path without the names of videos and frames."""
    if path.suffix not in (".jpg", ".png"):
        return str(path)
    return f"{'/'.join(path.parts[:-2])}/*/{len(path.stem)} characters{path.suffix}"


def take_at(root: Path, name: str) -> list[np.ndarray]:
    return [seen(scene) for scene in take_of(root, name).clip.scenes]


def decoded(codes: list) -> list:
    return [None if code is None else coco_mask.decode(code).astype(bool) for code in codes]


def same(codes: list, masks: list[np.ndarray], thing: int) -> None:
    for code, mask in zip(decoded(codes), masks, strict=True):
        assert not mask[thing].any() if code is None else (code == mask[thing]).all()


@pytest.mark.parametrize(
    "folder, meta, mask_file",
    [
        ("mevis/train", "meta_expressions.json", "mask_dict.json"),
        ("mevis/valid_u", "meta_expressions.json", "mask_dict.json"),
        ("lvvis/train", "meta_expressions.json", "mask_dict.json"),
        ("ReVOS", "meta_expressions_train_.json", "mask_dict.json"),
        ("ReVOS", "meta_expressions_valid_.json", "mask_dict.json"),
    ],
)
def test_an_anno_id_leads_to_the_masks_of_its_thing(
    videos: Path, folder: str, meta: str, mask_file: str
) -> None:
    codes = read(videos / folder / mask_file)
    for name, video in read(videos / folder / meta)["videos"].items():
        masks = take_at(videos, name)
        assert len(video["frames"]) == len(masks)
        for expression in video["expressions"].values():
            for thing, key in zip(expression["obj_id"], expression["anno_id"], strict=True):
                same(codes[str(key)], masks, thing)
            if "kind" in expression:
                assert (expression["kind"] == "none") == (expression["obj_id"] == [])
                assert expression.get("type_id", 0) == {"none": 2, "reasoning": 1}.get(
                    expression["kind"], 0
                ) or ("type_id" not in expression)


@pytest.mark.parametrize(
    "folder, meta",
    [("Refer-YouTube-VOS/train", "train"), ("DAVIS17/train", "train"), ("DAVIS17/valid", "valid")],
)
def test_palette_files_and_mask_dicts_show_the_object_of_the_expression(
    videos: Path, folder: str, meta: str
) -> None:
    root = (videos / folder).parent
    pickled = pickle.loads((videos / folder / "mask_dict.pkl").read_bytes())
    listed = read(root / "meta_expressions" / meta / "meta_expressions.json")["videos"]
    counter = 0
    for name in sorted(listed):
        for number in sorted(listed[name]["expressions"]):
            value = int(listed[name]["expressions"][number]["obj_id"])
            for code, frame in zip(pickled[str(counter)], listed[name]["frames"], strict=True):
                label = Image.open(videos / folder / "Annotations" / name / f"{frame}.png")
                assert label.mode == "P" and label.getpalette()[:18] == DAVIS_PALETTE[:18]
                shown = np.asarray(label) == value
                assert code is None or isinstance(code["counts"], bytes)
                assert not shown.any() if code is None else (coco_mask.decode(code) == shown).all()
            counter += 1
    assert counter == len(pickled) > 4


def test_the_palette_is_that_of_davis() -> None:
    assert DAVIS_PALETTE[:18] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128]
    assert len(DAVIS_PALETTE) == 768 and DAVIS_PALETTE[-3:] == [224, 224, 192]


def test_frames_are_drawn_as_their_clips_say(videos: Path) -> None:
    checked = 0
    for folder in sorted(videos.glob("**/JPEGImages/*")):
        for video in [folder] if any(folder.glob("*.jpg")) else sorted(folder.iterdir()):
            files = sorted(video.glob("*.jpg"))
            pictures = list(draw_frames(take_of(videos, video.name).clip))
            assert len(files) == len(pictures)
            shown = np.asarray(Image.open(files[-1])).astype(int)
            assert np.abs(shown - pictures[-1]).mean() < 4
            checked += 1
    assert checked >= 2 * len(POOLS)


def test_refer_youtube_lists_the_videos_of_test_in_valid_too(videos: Path) -> None:
    root = videos / "Refer-YouTube-VOS"
    names = {
        s: set(read(root / f"meta_expressions/{s}/meta_expressions.json")["videos"])
        for s in ("valid", "test")
    }
    scored = names["valid"] - names["test"]
    assert names["test"] < names["valid"]
    assert scored == {path.name for path in (root / "valid/JPEGImages").iterdir()}
    assert names["test"] == {path.name for path in (root / "test/JPEGImages").iterdir()}
    train = {path.name for path in (root / "train/JPEGImages").iterdir()}
    assert train == {path.name for path in (videos / "YTVOS/train/JPEGImages").iterdir()}


def test_youtube_vos_valid_shows_each_object_once(videos: Path) -> None:
    root = videos / "YTVOS/valid"
    for name, video in read(root / "meta.json")["videos"].items():
        found: dict[int, str] = {}
        for path in sorted((root / "Annotations" / name).iterdir()):
            for value in set(np.unique(np.asarray(Image.open(path)))) - {0}:
                assert found.setdefault(int(value), path.stem) == path.stem
        assert found == {
            int(v): thing["frames"][0] for v, thing in video["objects"].items() if thing["frames"]
        }


def test_davis_has_four_expressions_an_object_and_its_texts_are_the_raw_ones(videos: Path) -> None:
    texts: dict[str, list[str]] = {}
    for number, name in enumerate(("annot1", "annot1_full_video", "annot2", "annot2_full_video")):
        for line in (
            (videos / f"DAVIS17_raw/davis_text_annotations/Davis17_{name}.txt").read_text().splitlines()
        ):
            video, value, text = line.split(" ", 2)
            said = text.strip('"')
            texts.setdefault(video, []).append(f"{4 * (int(value) - 1) + number} {said}")
    for split, raw in (("train", "train"), ("valid", "val")):
        listed = read(videos / f"DAVIS17/meta_expressions/{split}/meta_expressions.json")["videos"]
        assert (videos / f"DAVIS17_raw/DAVIS/ImageSets/2017/{raw}.txt").read_text().split() == list(listed)
        for name, video in listed.items():
            assert len(video["expressions"]) % 4 == 0
            first = np.asarray(Image.open(videos / f"DAVIS17/{split}/Annotations/{name}/00000.png"))
            assert set(np.unique(first)) - {0} == set(range(1, len(video["expressions"]) // 4 + 1))
            assert sorted(texts[name]) == sorted(
                f"{n} {one['exp']}" for n, one in video["expressions"].items()
            )
            assert len({one["exp"] for one in video["expressions"].values()}) == len(video["expressions"])


def test_reasonvos_has_a_folder_of_masks_for_each_object_it_asks_for(videos: Path) -> None:
    root, steps = videos / "ReasonVOS", set()
    for name, video in read(root / "meta_expressions.json")["videos"].items():
        masks = take_at(videos, name)
        assert [one["exp_id"] for one in video["expressions"]] == list(range(len(video["expressions"])))
        for value in {one["obj_id"] for one in video["expressions"]}:
            files = sorted((root / f"Annotations/{video['source']}_{name}_{value}").iterdir())
            steps.add(len(masks) / len(files) > 1.5)
            for path in files:
                shown = np.asarray(Image.open(path))
                assert set(np.unique(shown)) <= {0, 255}
                assert ((shown > 0) == masks[int(path.stem)][value - 1]).all()


def test_lvvis_instances_are_the_things_and_novel_ones_are_held_out_of_training(videos: Path) -> None:
    for split in ("train", "val"):
        content = read(videos / f"lvvis/{split}_instances.json")
        names = {category["id"]: category for category in content["categories"]}
        for video in content["videos"]:
            folder = video["file_names"][0].split("/")[0]
            take, masks = take_of(videos, folder), take_at(videos, folder)
            own = [one for one in content["annotations"] if one["video_id"] == video["id"]]
            assert len(own) == len(take.clip.things)
            for number, (thing, one) in enumerate(zip(take.clip.things, own, strict=True)):
                category = names[one["category_id"]]
                assert category["name"] == f"{thing.colour}_{thing.shape}"
                assert split != "train" or category["partition"] < 2
                same(one["segmentations"], masks, number)
                areas = [int(mask[number].sum()) or None for mask in masks]
                assert one["areas"] == areas and [box is None for box in one["bboxes"]] == [
                    a is None for a in areas
                ]


def test_the_foreground_of_revos_is_the_union_of_all_things(videos: Path) -> None:
    for name, one in read(videos / "ReVOS/mask_dict_foreground.json").items():
        for code, ratio, masks in zip(
            one["masks_rle"], one["foreground_ratio"], take_at(videos, name), strict=True
        ):
            union = masks.any(axis=0)
            assert (coco_mask.decode(code) == union).all() and ratio == pytest.approx(union.mean())
