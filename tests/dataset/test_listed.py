"""Sa2VA's fine-tuning files of pictures and of videos: read as they lie, wrong ones refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seglm.dataset.faults import Fault
from seglm.dataset.sources import open_source
from seglm.evaluation.asking.follow import asked_of
from tests.dataset.films import film
from tests.dataset.test_grounded import DOG, MAN, picture, polygon, rle, save
from tests.dataset.test_sa2va_sets import expect


def test_sa2vas_file_of_pictures_gives_a_target_for_each_text(tmp_path: Path) -> None:
    picture(tmp_path / "my_data/images/a.jpg")
    entry = {
        "image": "a.jpg",
        "mask": [[polygon(*MAN), polygon(*DOG)], [rle(DOG)]],
        "text": ["both", "Who barks?"],
    }
    save([entry], tmp_path / "my_data/annotations.json")
    sample = open_source("my_data", tmp_path).sample(0)
    assert [(target.texts, target.is_sentence) for target in sample.targets] == [
        (("both",), False),
        (("Who barks?",), True),
    ]
    both, dog = (target.masks([0])[0] for target in sample.targets)
    assert both[10, 5] and both[25, 25] and dog[25, 25] and not dog[10, 5]
    expect("my_data|train", tmp_path, 1, 2)


def test_the_same_file_may_speak_of_videos(tmp_path: Path) -> None:
    (tmp_path / "my_data/videos").mkdir(parents=True)
    film(tmp_path / "my_data/videos/a.mp4", 3)
    for number in range(2):
        picture(tmp_path / f"my_data/videos/b/{number}.jpg")
    entries = [
        {"video": "a.mp4", "mask": [[[polygon(*MAN)], None, []]], "text": ["it"]},
        {"video": "b", "mask": [[[rle(MAN)], [rle(DOG)]]], "text": ["it"]},
    ]
    save(entries, tmp_path / "my_data/video_annotations.json")
    first, second = (open_source("my_videos", tmp_path).sample(number) for number in range(2))
    assert first.targets[0].masks([0, 1, 2]).any(axis=(1, 2)).tolist() == [True, False, False]
    assert second.targets[0].masks([1])[0, 25, 25] and second.num_frames == 2
    expect("my_videos|train", tmp_path, 2, 2)


def test_a_thing_of_an_own_video_is_known_by_its_outlines_and_no_outline_is_nothing(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / f"my_data/videos/b/{number}.jpg")
    man, dog, nothing = [[rle(MAN)], None], [None, [rle(DOG)]], [None, []]
    entry = {"video": "b", "mask": [man, dog, man, nothing], "text": ["he", "it", "that man", "the cat"]}
    save([entry], tmp_path / "my_data/video_annotations_val.json")
    sample = open_source("my_videos|val", tmp_path).sample(0)
    assert [target.objects for target in sample.targets] == [("0",), ("1",), ("0",), ()]
    asked = [asked_of(sample, target) for target in sample.targets]
    assert [one.is_empty for one in asked] == [False, False, False, True], "positives, and N-acc of one"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"text": ["a"]}, "1 texts and 2 masks; each mask has one text"),
        ({"mask": [[[1, 2, 3]], [polygon(*MAN)]]}, "mask 0: .*x and y come in pairs"),
        ({"mask": [7, [polygon(*MAN)]]}, "a mask is 7 .*permitted is a list"),
        (
            {"mask": [[[2, 2], [12, 2], [12, 22]], []]},
            "mask 0: .*no polygon of three points; a mask is a list",
        ),
        ({"mask": [[], [list(MAN)]]}, "mask 1: .*of a box write its four corners"),
        ({"mask": [[], [[0.1, 0.1, 0.8, 0.1, 0.8, 0.9]]]}, "mask 1: .*all between 0 and 1.*write pixels"),
        ({"image": 3}, "`image` is 3"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    picture(tmp_path / "my_data/images/a.jpg")
    entry = {"image": "a.jpg", "mask": [[polygon(*MAN)], [polygon(*DOG)]], "text": ["a", "b"], **change}
    save([entry], tmp_path / "my_data/annotations.json")
    with pytest.raises(Fault, match=f"my_data.train/(entry )?0: .*{message}"):
        open_source("my_data", tmp_path).sample(0)


def test_a_mask_of_a_frame_that_is_written_as_a_box_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "my_data/videos/b/0.jpg")
    save(
        [{"video": "b", "mask": [[[list(MAN)]]], "text": ["it"]}], tmp_path / "my_data/video_annotations.json"
    )
    with pytest.raises(
        Fault, match="my_videos.train/0, frame 0: malformed mask: .*no polygon of three points"
    ):
        open_source("my_videos", tmp_path).sample(0).targets[0].masks([0])


def test_masks_for_another_number_of_frames_are_told(tmp_path: Path) -> None:
    (tmp_path / "my_data/videos").mkdir(parents=True)
    film(tmp_path / "my_data/videos/a.mp4", 3)
    save([{"video": "a.mp4", "mask": [[None]], "text": ["it"]}], tmp_path / "my_data/video_annotations.json")
    with pytest.raises(Fault, match="my_videos.train/0: .*mask 0 is of 1 frames, its video has 3"):
        open_source("my_videos", tmp_path).sample(0)
