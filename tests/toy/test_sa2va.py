"""Sa2VA's further sets of the toy world: the real loaders read what is true of the scenes, as DeSa2VA's tree has it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from seglm.dataset.check import check_source, main
from seglm.dataset.readers.stills import Stills
from seglm.dataset.sources import open_source
from seglm.dataset.toy.clips import seen
from seglm.dataset.toy.layouts import regions
from seglm.dataset.toy.layouts.shots import make_shot
from seglm.dataset.toy.layouts.takes import make_take
from seglm.dataset.toy.scenes import Scene, visible_masks
from seglm.dataset.toy.telling import grounded_caption
from seglm.dataset.toy.write_sa2va import PART, SHOT_POOLS, TAKE_POOLS, read_sa2va_manifest, write_sa2va
from seglm.utils.types import Sample
from tests.dataset.mini import MINI
from tests.toy.world import NUMBERS, SEED

GCG = (
    "grandf_gcg|train",
    "openpsg_gcg|train",
    "refcocog_gcg|train",
    "flickr_gcg|train",
    "grandf_gcg|val",
    "grandf_gcg|test",
)
SPECS = (
    *GCG, "osprey|conversation", "osprey|description", "osprey|short", "osprey|part", "osprey|positive_negative",
    "llava_665k|train", "llava_pretrain|train", "chat_univi|train", "ref_sav|train", "ref_sav|short|train", "ref_sav|valid",
    "my_data|train", "my_data|val", "my_videos|train", "my_videos|val", "my_qa|val", "my_video_qa|val", "refcocog_regions|val",
)  # fmt: skip
OF_SPLIT = {"val": "val", "test": "test"}


def scene_of(sample: Sample) -> Scene:
    number = int("".join(filter(str.isdigit, Path(sample.path).stem.rpartition("_")[2])))
    return make_shot(number, world_seed=SEED, split=split_of(sample), size=128).scene


def split_of(sample: Sample) -> str:
    return OF_SPLIT.get(sample.key.partition("/")[0].rpartition("|")[2], "train")


def samples(source: Stills) -> list[Sample]:
    return [source.sample(number) for number in range(len(source))]


@pytest.mark.parametrize("spec", SPECS)
def test_every_set_is_good_to_the_last_pixel(spec: str, sa2va: Path) -> None:
    found = check_source(spec, sa2va, share=1)
    assert not found.faults and found.decoded == found.samples > 0 and found.expressions > 0
    assert not [note for note in found.notes if "nothing to ask for" in note]


@pytest.mark.parametrize("spec", GCG)
def test_phrases_have_the_masks_of_their_things(spec: str, sa2va: Path) -> None:
    for sample in samples(open_source(spec, sa2va)):
        scene = scene_of(sample)
        masks, told = visible_masks(scene), set()
        assert sample.caption is not None
        union = np.zeros(sample.size, np.bool_)
        for phrase in sample.caption.phrases:
            mask = sample.targets[phrase.target].masks([0])[0]
            words = sample.caption.text[phrase.start : phrase.end]
            things = [i for i in range(len(masks)) if (masks[i] & mask).any()]
            assert (masks[things].any(axis=0) == mask).all(), "nothing but whole things"
            assert all(scene.things[i].colour in words and scene.things[i].shape in words for i in things), (
                words
            )
            assert words.startswith("a ") == (len(things) == 1)
            union |= mask
            told.update(things)
        assert told == set(range(len(masks))) and (union == masks.any(axis=0)).all()


def test_all_things_of_a_scene_are_told_once() -> None:
    for number in range(20):
        shot = make_shot(number + 1, world_seed=0, split="train", size=64)
        told = grounded_caption(shot.scene, shot.rng("x"), split="train")
        assert sorted(thing for _, _, things in told.spans for thing in things) == list(
            range(len(shot.scene.things))
        )
        ends = [0, *(place for start, end, _ in told.spans for place in (start, end))]
        assert ends == sorted(ends) and told.text.endswith(".")


def test_regions_are_things_and_what_is_said_of_them_is_true(sa2va: Path) -> None:
    for sample in samples(open_source("osprey|description", sa2va)):
        scene = scene_of(sample)
        masks = visible_masks(scene)
        for region in sample.regions:
            [thing] = [i for i in range(len(masks)) if (masks[i] == region.masks([0])[0]).all()]
            [caption] = region.captions
            assert scene.things[thing].colour in caption and scene.things[thing].shape in caption
    for sample in samples(open_source("osprey|positive_negative", sa2va)):
        scene, [(question, answer)] = scene_of(sample), sample.turns
        masks = visible_masks(scene)
        [thing] = [i for i in range(len(masks)) if (masks[i] == sample.regions[0].masks([0])[0]).all()]
        assert (scene.things[thing].shape in question) == (answer == "yes") and "region1" in question


def test_every_thing_has_two_captions_in_the_benchmark_of_regions(sa2va: Path) -> None:
    for sample in samples(open_source("refcocog_regions", sa2va)):
        masks = visible_masks(scene_of(sample))
        assert [len(region.captions) for region in sample.regions] == [2] * len(masks)
        assert all(
            (region.masks([0])[0] == mask).all() for region, mask in zip(sample.regions, masks, strict=True)
        )


def test_yes_and_no_do_not_show_in_the_words_of_a_question_about_a_region() -> None:
    """The share of yes for each shape that is named, over many pictures."""
    asked: dict[str, list[bool]] = {}
    for number in range(1500):
        shot = make_shot(number + 1, world_seed=5, split="train", size=32)
        said = regions.MAKERS["positive_negative"](shot, shot.rng("x"))
        assert said is not None
        question, answer = (turn["value"] for turn in said["conversations"])
        shape = question.rstrip("?").split()[-1]
        asked.setdefault(shape, []).append(answer == "yes")
    assert len(asked) == 6
    assert all(abs(np.mean(answers) - 0.5) < 0.12 for answers in asked.values()), {
        shape: float(np.mean(answers)) for shape, answers in asked.items()
    }


def test_the_frames_of_a_film_are_those_of_its_clip(sa2va: Path) -> None:
    for sample in samples(open_source("ref_sav", sa2va)):
        take = make_take(int(sample.key.rpartition("_")[2]), world_seed=SEED, split="train", size=128)
        assert sample.num_frames == take.num_frames
        for target in sample.targets:
            for number in (0, sample.num_frames - 1):
                true = seen(take.clip.scenes[number])[int(target.key)]
                assert (target.masks([number])[0] == true).all()


def test_ref_savs_eval_has_long_and_short_expressions(sa2va: Path) -> None:
    kinds = [
        target.kind for sample in samples(open_source("ref_sav|valid", sa2va)) for target in sample.targets
    ]
    assert set(kinds) == {"long", "short"}


def test_questions_that_are_scored_say_of_what_kind_they_are(sa2va: Path) -> None:
    for spec in ("my_qa|val", "my_video_qa|val"):
        for sample in samples(open_source(spec, sa2va)):
            assert len(sample.turn_kinds) == len(sample.turns) > 1 and all(sample.turn_kinds)


def test_the_same_numbers_give_the_same_bytes(sa2va: Path, tmp_path: Path) -> None:
    write_sa2va(tmp_path / "again", **NUMBERS)

    def tree(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    assert tree(sa2va) == tree(tmp_path / "again")
    before = (sa2va / PART.manifest).stat().st_mtime_ns
    assert write_sa2va(sa2va, **NUMBERS) == read_sa2va_manifest(sa2va)
    assert (sa2va / PART.manifest).stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"other toy sets of Sa2VA: seed 3 \(wanted 9\).*rm -r"):
        write_sa2va(sa2va, **{**NUMBERS, "seed": 9})


def test_a_folder_of_the_user_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "glamm_data").mkdir()
    with pytest.raises(ValueError, match="has glamm_data already, which the toy world did not write"):
        write_sa2va(tmp_path, **NUMBERS)
    assert [path.name for path in tmp_path.iterdir()] == ["glamm_data"]


def test_no_picture_is_in_two_splits(sa2va: Path) -> None:
    found: dict[str, set[str]] = {}
    for spec in SPECS:
        for sample in samples(open_source(spec, sa2va)):
            if sample.num_frames == 1 and sample.path:
                digest = hashlib.sha256(Path(sample.path).read_bytes()).hexdigest()
                found.setdefault(split_of(sample), set()).add(digest)
    assert not found["train"] & (found["val"] | found["test"]) and not found["val"] & found["test"]
    names = [pool.name for pool in (*SHOT_POOLS, *TAKE_POOLS)]
    assert len(set(names)) == len(names)


def test_desa2vas_tree_opens_as_it_stands(
    sa2va: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """README.md of longmalongma/DeSa2VA: ref_seg, glamm_data, osprey-724k, llava_data, sam_v_full, video_datas."""
    root = tmp_path / "data"
    for name in ("glamm_data", "osprey-724k", "llava_data", "video_datas"):
        shutil.copytree(sa2va / name, root / name)
    (root / "video_datas/sam_v_full").rename(root / "sam_v_full")
    shutil.copy(sa2va / "sam_v_final_v3.json", root)
    shutil.copytree(MINI / "mevis/mevis", root / "video_datas/mevis")
    for name in ("refcoco", "refcoco+", "refcocog"):
        mini = MINI / {"refcoco+": "refcoco_plus"}.get(name, name) / "refer_seg"
        shutil.copytree(mini / name, root / "ref_seg" / name)
        shutil.copytree(
            mini / "images/mscoco/images/train2014", root / "ref_seg" / name / "coco2014/train2014"
        )
    assert main(["--dataset_dir", str(root), "--decode", "1"]) == 0
    checked = capsys.readouterr().out
    for spec in (
        *GCG,
        "refcoco|unc|train",
        "refcoco+|unc|train",
        "refcocog|umd|train",
        "mevis|train",
        "ref_sav|train",
    ):
        assert f"{spec}: good; " in checked, checked
    for spec in ("osprey|conversation", "llava_665k|train", "llava_pretrain|train", "chat_univi|train"):
        assert f"{spec}: good; " in checked, checked
    assert "0 faults" in checked.splitlines()[-1]


def test_the_files_are_as_the_released_loaders_want_them(sa2va: Path) -> None:
    """Fields that projects/llava_sam2/datasets of magic-research/Sa2VA read."""

    def first(path: str) -> dict:
        content = json.loads((sa2va / path).read_text())
        return content[0] if isinstance(content, list) else next(iter(content.values()))

    grandf = first("glamm_data/annotations/GranDf_HA_GCG_train.json")
    assert {"file_name", "height", "width", "image_id", "caption", "groundings"} == set(grandf)
    assert {"token_positives", "rle_masks"} == set(next(iter(grandf["groundings"].values())))
    [told] = first("glamm_data/annotations/RefCOCOg_GCG_train.json").values()
    assert {"img_file_name", "caption", "refs"} == set(told)
    osprey = first("osprey-724k/Osprey-724K/osprey_conversation.json")
    assert {"file_name", "height", "width", "conversations", "annotation"} <= set(osprey)
    assert set(first("sam_v_final_v3.json")) == {"video_path", "anno_path", "objects"}
    assert set(first("video_datas/chat_univi/video_chat.json")) == {"id", "video", "conversations"}
    assert set(first("my_data/annotations.json")) == {"image", "mask", "text"}
