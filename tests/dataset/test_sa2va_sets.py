"""Osprey, LLaVA's mixtures, Chat-UniVi and Ref-SAV: read as they lie, wrong ones refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from seglm.dataset.check import check_source
from seglm.dataset.description import Description
from seglm.dataset.faults import Fault
from seglm.dataset.pipeline import clip
from seglm.dataset.readers import masklets
from seglm.dataset.sources import describe, open_source
from seglm.utils.types import Frames
from tests.dataset.films import SIZE as FILM
from tests.dataset.films import STEP, TELLS, film
from tests.dataset.test_grounded import DOG, MAN, SIZE, picture, polygon, rle, save


def expect(spec: str, root: Path, samples: int, expressions: int) -> None:
    found = check_source(spec, root, share=1)
    assert (found.faults, found.samples, found.expressions, found.decoded) == (
        [],
        samples,
        expressions,
        samples,
    )


# ---- Osprey ---------------------------------------------------------------------------------------------------------
OSPREY = "osprey-724k/Osprey-724K/osprey_{}.json"


def said(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def osprey(root: Path, name: str, **told: Any) -> None:
    picture(root / "osprey-724k/coco/val2017/000000000042.jpg")
    entry = {"id": 1, "file_name": "000000000042.jpg", "height": 40, "width": 60, **told}
    entry["annotation"] = [{"segmentation": [polygon(*MAN)]}, {"segmentation": rle(DOG)}]
    save([entry], root / OSPREY.format(name))


def test_regions_are_given_in_order_and_spoken_of_by_name(tmp_path: Path) -> None:
    osprey(
        tmp_path, "conversation", conversations=said("<image>\nWho is <region2>?", "<region2> is <b> a dog.")
    )
    source = open_source("osprey", tmp_path)
    sample = source.sample(0)
    assert sample.turns == (("Who is region2?", "region2 is <b> a dog."),)
    assert [region.key for region in sample.regions] == ["1", "2"] and not sample.targets
    first, second = (region.masks([0])[0] for region in sample.regions)
    assert first[10, 5] and not first[25, 25] and second[25, 25] and not second[10, 5]
    assert clip(sample, frames=Frames((0,), ())).pointed[1].shape == (1, *SIZE)
    assert source.index.coco.tolist() == [42] and Path(sample.path).parent.name == "val2017"
    expect("osprey|conversation", tmp_path, 1, 1)


def test_a_description_belongs_to_its_region(tmp_path: Path) -> None:
    osprey(
        tmp_path, "detail_description", description=["<region1>: A man.", "region2:  A dog beside <region1>."]
    )
    sample = open_source("osprey|description", tmp_path).sample(0)
    assert [region.captions for region in sample.regions] == [("A man.",), ("A dog beside region1.",)]
    assert not sample.turns
    expect("osprey|description", tmp_path, 1, 2)


@pytest.mark.parametrize(
    "split, name",
    [("short", "short_form"), ("part", "part_level"), ("positive_negative", "lvis_positive_negative")],
)
def test_parts_that_ask_for_a_word_say_so(split: str, name: str, tmp_path: Path) -> None:
    osprey(tmp_path, name, conversations=said("What is <region1>?", "A man."))
    [(question, answer)] = open_source(f"osprey|{split}", tmp_path).sample(0).turns
    assert (
        question == "What is region1? Answer the question using a single word or phrase."
        and answer == "A man."
    )


@pytest.mark.parametrize(
    "told, message",
    [
        ({"conversations": said("Who is <region3>?", "Nobody.")}, "speaks of region3; there are 2"),
        ({"conversations": said("Who is <region1>?")}, "question and answer do not alternate"),
        ({}, "has no `conversations`"),
        ({"description": ["a", "b", "c"]}, "3 descriptions of 2 regions; each region has one"),
    ],
)
def test_what_is_wrong_with_a_picture_of_regions_is_told(
    told: dict[str, Any], message: str, tmp_path: Path
) -> None:
    osprey(tmp_path, "conversation", **told)
    with pytest.raises(Fault, match=f"osprey.conversation/picture 0: .*{message}"):
        open_source("osprey|conversation", tmp_path)


def test_captions_of_one_mask_are_of_one_region(tmp_path: Path) -> None:
    picture(tmp_path / "glamm_data/images/coco2014/train2014/COCO_train2014_000000000042.jpg")
    of_picture = {
        "file_name": "COCO_train2014_000000000042.jpg",
        "height": 40,
        "width": 60,
        "original_id": 42,
    }
    images = [
        {"id": number, "caption": text, **of_picture}
        for number, text in ((7, "a man"), (8, "a dog"), (9, "the man"))
    ]
    boxes = {7: MAN, 8: DOG, 9: MAN}
    annotations = [{"id": n, "image_id": n, "segmentation": [polygon(*box)]} for n, box in boxes.items()]
    save(
        {"images": images, "annotations": annotations},
        tmp_path / "region_caption/refcocog/finetune_refcocog_val_with_mask.json",
    )
    sample = open_source("refcocog_regions", tmp_path).sample(0)
    assert [(region.key, region.captions) for region in sample.regions] == [
        ("7", ("a man", "the man")),
        ("8", ("a dog",)),
    ]
    assert sample.regions[1].masks([0])[0, 25, 25]
    expect("refcocog_regions|val", tmp_path, 1, 3)
    annotations.pop()
    save(
        {"images": images, "annotations": annotations},
        tmp_path / "region_caption/refcocog/finetune_refcocog_val_with_mask.json",
    )
    with pytest.raises(Fault, match="refcocog_regions.val/COCO.*none of `annotations` has the id 9"):
        open_source("refcocog_regions", tmp_path)


# ---- conversations --------------------------------------------------------------------------------------------------
def test_a_mixture_holds_conversations_about_nothing_that_is_shown(tmp_path: Path) -> None:
    picture(tmp_path / "llava_data/llava_images/gqa/images/7.jpg")
    picture(tmp_path / "llava_data/llava_images/coco/train2017/000000000009.jpg")
    entries = [
        {"id": "a", "image": "gqa/images/7.jpg", "conversations": said("<image>\nWhat?", "A thing.")},
        {"id": "b", "conversations": said("Hello?", "Hi.", "How are you?", "Well.")},
        {
            "id": "c",
            "image": "coco/train2017/000000000009.jpg",
            "conversations": said("Who?\n<image>", "He."),
        },
    ]
    save(entries, tmp_path / "llava_data/LLaVA-Instruct-150K/llava_v1_5_mix665k.json")
    source = open_source("llava_665k", tmp_path)
    shown, words, coco = (source.sample(number) for number in range(3))
    assert (
        shown.turns == (("What?", "A thing."),) and shown.num_frames == 1 and coco.turns == (("Who?", "He."),)
    )
    assert (words.num_frames, words.size, len(words.turns)) == (0, (0, 0), 2)
    with pytest.raises(
        Fault, match="1-b: frame 0 is asked for; the conversation is about nothing that is shown"
    ):
        words.frame(0)
    assert source.index.coco.tolist() == [-1, -1, 9], "a number of GQA is no id of COCO"
    expect("llava_665k", tmp_path, 3, 4)
    seen = open_source("llava_665k|seen|train", tmp_path)
    assert len(seen) == 2 and seen.index.left_out == {"conversations without a picture": 1}


@pytest.mark.parametrize("inside", ["images", "."])
def test_llavas_first_stage_is_read_with_its_folder_of_images_or_without(inside: str, tmp_path: Path) -> None:
    home = tmp_path / "llava_data/LLaVA-Pretrain"
    picture(home / inside / "00453/004539375.jpg")
    entry = {
        "id": "004539375",
        "image": "00453/004539375.jpg",
        "conversations": said("Say.\n<image>", "A cat"),
    }
    save([entry], home / "blip_laion_cc_sbu_558k.json")
    source = open_source("llava_pretrain", tmp_path)
    assert source.sample(0).frame(0).shape == (*SIZE, 3) and not source.has_coco


@pytest.mark.parametrize("folder", ["video_datas/chat_univi", "chat_univi"])
def test_conversations_about_a_film_open_it_when_it_is_asked_for(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder / "Activity_Videos").mkdir(parents=True)
    film(tmp_path / folder / "Activity_Videos/v_1.mp4", 9)
    entries = [
        {
            "id": "v_1",
            "video": "v_1.mkv",
            "conversations": said("<video>\nWhat happens?", "It grows brighter."),
        },
        {"video": "v_1.mp4", "conversations": said("Who?", "Nobody.")},
        {"id": "t", "conversations": said("Who?", "Nobody.")},
    ]
    save(entries, tmp_path / folder / "video_chat.json")
    source = open_source("chat_univi", tmp_path)
    assert source.index.left_out == {"conversations without a video": 1}
    sample = source.sample(0)
    assert (sample.num_frames, sample.size, sample.turns) == (
        9,
        FILM,
        (("What happens?", "It grows brighter."),),
    )
    assert abs(int(sample.frame(5)[TELLS].mean()) - 5 * STEP) <= 6
    assert source.length(0) > 2_000_000, "a video is longer than any picture with words"
    expect("video_chatgpt", tmp_path, 2, 2)
    (tmp_path / folder / "Activity_Videos/v_1.mp4").unlink()
    assert len(open_source("chat_univi", tmp_path)) == 2, "opening looks at no film"
    with pytest.raises(
        Fault, match="0-v_1: there is no video: expected is a folder of frames or a video file"
    ):
        source.sample(0)


# ---- Ref-SAV --------------------------------------------------------------------------------------------------------
def ref_sav(root: Path, *, frames: int = 13, annotated: int = 4, file: str = "sam_v_final_v3.json") -> None:
    """A film of 13 frames, of which 0, 4, 8 and 12 are annotated: the object moves by 8 pixels from one to the next."""
    place = root / "sam_v_full/sav_000/sav_train/sav_000"
    place.mkdir(parents=True)
    film(place / "sav_000001.mp4", frames)

    def box(left: int) -> dict[str, Any]:
        mask = np.zeros(FILM, np.uint8, order="F")
        mask[10:20, left : left + 8] = 1
        return {"size": list(FILM), "counts": coco.encode(mask)["counts"].decode()}

    masklet = [[box(0), box(8 * number)] for number in range(annotated)]
    save({"video_id": "sav_000001", "masklet": masklet}, place / "sav_000001_manual.json")
    paths = {
        "video_path": "sam_v_full/sav_000/sav_train/sav_000/sav_000001.mp4",
        "anno_path": "sam_v_full/sav_000/sav_train/sav_000/sav_000001_manual.json",
    }
    objects = {"1": {"formated": "A box  that Moves.", "short_caps": ["A moving box", "The box"]}}
    save({"sav_000001": {**paths, "objects": objects}}, root / file)


@pytest.mark.parametrize("file", ["sam_v_final_v3.json", "video_datas/Ref-SAV.json"])
def test_the_frames_of_a_film_of_sav_are_those_that_are_annotated(file: str, tmp_path: Path) -> None:
    ref_sav(tmp_path, file=file)
    sample = open_source("ref_sav", tmp_path).sample(0)
    [target] = sample.targets
    assert (target.texts, target.kind, target.objects) == (("A box that Moves.",), "long", ("1",))
    assert (sample.num_frames, sample.size) == (4, FILM) and sample.frame_names == (
        "00000",
        "00004",
        "00008",
        "00012",
    )
    assert abs(int(sample.frame(2)[TELLS].mean()) - 8 * STEP) <= 6
    assert target.masks([3, 1])[:, 15].argmax(axis=1).tolist() == [24, 8]
    short = open_source("ref_sav|short|train", tmp_path).sample(0).targets[0]
    assert (short.texts, short.kind) == (("A moving box", "The box"), "short")
    expect("ref_sav|train", tmp_path, 1, 1)


def test_only_the_masks_that_are_asked_for_are_decoded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ref_sav(tmp_path)
    decoded: list[int] = []
    real: Callable[..., Any] = masklets.drawn
    monkeypatch.setattr(masklets, "drawn", lambda *given: decoded.append(1) or real(*given))
    sample = open_source("ref_sav", tmp_path).sample(0)
    assert decoded == []
    sample.targets[0].masks([2])
    assert decoded == [1]


@pytest.mark.parametrize("annotated, frames", [(3, 3), (5, 4)])
def test_a_film_and_its_masks_may_differ_by_a_frame(annotated: int, frames: int, tmp_path: Path) -> None:
    ref_sav(tmp_path, annotated=annotated)
    assert open_source("ref_sav", tmp_path).sample(0).num_frames == frames


def test_masks_of_another_film_are_told(tmp_path: Path) -> None:
    ref_sav(tmp_path, annotated=9)
    with pytest.raises(
        Fault, match="ref_sav.train/sav_000001: `masklet` has 9 frames, every 4th of the film are 4"
    ):
        open_source("ref_sav", tmp_path).sample(0)


def test_an_object_that_is_not_in_the_masks_is_told(tmp_path: Path) -> None:
    ref_sav(tmp_path)
    file = tmp_path / "sam_v_final_v3.json"
    file.write_text(file.read_text().replace('"1":', '"7":'))
    with pytest.raises(Fault, match="sav_000001, frame 0: malformed mask: object 7 is not there"):
        open_source("ref_sav", tmp_path).sample(0).targets[0].masks([0])


def test_ref_savs_eval_lies_as_mevis_with_long_and_short_expressions(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"ref_sav_eval/videos/sav_9/{100000 + 4 * number}.jpg")
    expressions = {
        "0": {"exp": "A long tale.", "obj_id": [0], "anno_id": [10000], "type_id": 0},
        "1": {"exp": "It", "obj_id": [0], "anno_id": [10000], "type_id": 1},
    }
    video = {"vid_id": "sav_9", "height": 40, "width": 60, "frames": ["100000", "100004", "100008"]}
    save(
        {"videos": {"sav_9": {"expressions": expressions, **video}}},
        tmp_path / "ref_sav_eval/meta_expressions_valid.json",
    )
    save({"10000": [rle(MAN), None, rle(DOG)]}, tmp_path / "ref_sav_eval/mask_dict.json")
    sample = open_source("ref_sav|valid", tmp_path).sample(0)
    assert [target.kind for target in sample.targets] == ["long", "short"]
    assert sample.targets[0].masks([0, 1, 2]).any(axis=(1, 2)).tolist() == [True, False, True]
    expect("ref_sav|valid", tmp_path, 1, 2)


@pytest.mark.parametrize(
    "spec, want",
    [
        ("osprey", ("osprey", "conversation")), ("refsav|short|train", ("ref_sav", "short|train")),
        ("ref_sav|train", ("ref_sav", "train")), ("llava_665k|train", ("llava_665k", "train")),
        ("psg_gcg", ("openpsg_gcg", "train")), ("grandf|test", ("grandf_gcg", "test")),
    ],
)  # fmt: skip
def test_their_names(spec: str, want: tuple[str, str]) -> None:
    about: Description
    about, split = describe(spec)
    assert (about.name, split) == want
