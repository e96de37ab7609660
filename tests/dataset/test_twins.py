"""A picture or video that is trained on and scored is noted, whatever it is called; what is the same by design is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from seglm.dataset.check import main
from seglm.dataset.sources import open_source
from seglm.dataset.twins import notes
from tests.dataset.films import film
from tests.dataset.mini import copy_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_of("reasonseg", tmp_path)


def put_into_training(root: Path, name: str) -> str:
    """A validation picture under another name in the training split; returns the name it has in val."""
    home = root / "reason_seg" / "ReasonSeg"
    source = sorted((home / "val").glob("*.jpg"))[0]
    shutil.copy(source, home / "train" / f"{name}.jpg")
    words = source.with_suffix(".json").read_text(encoding="utf-8").replace(source.stem, name)
    (home / "train" / f"{name}.json").write_text(words, encoding="utf-8")
    return source.stem


def test_a_picture_of_val_in_training_is_noted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stem = put_into_training(root, "another")
    main(["--dataset_dir", str(root), "--dataset", "ReasonSeg|train,ReasonSeg|val"])
    said = capsys.readouterr().out
    assert (
        f"note: 1 picture is one of ReasonSeg|train, e.g. ReasonSeg|val/{stem} = ReasonSeg|train/another"
        in said
    )


def test_what_differs_in_one_byte_is_another_picture(root: Path) -> None:
    put_into_training(root, "another")
    copy = root / "reason_seg/ReasonSeg/train/another.jpg"
    data = bytearray(copy.read_bytes())
    data[-10] ^= 1  # of the same size
    copy.write_bytes(data)
    assert not list(notes(open_source(f"ReasonSeg|{split}", root) for split in ("train", "val")))


def test_a_split_that_is_made_of_the_other_is_no_news(root: Path) -> None:
    assert not list(notes(open_source(f"ReasonSeg|{split}", root) for split in ("train_val", "val")))


def test_a_broken_picture_is_noted_and_is_a_fault_beside_all_others(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = root / "reason_seg" / "ReasonSeg"
    last = sorted((home / "val").glob("*.jpg"))[-1]  # the first is decoded by the check itself
    last.write_bytes(last.read_bytes()[:-9])
    for copy in (home / "train" / "another.jpg", home / "train" / "another.json"):
        shutil.copy(last.with_suffix(copy.suffix), copy)
    assert main(["--dataset_dir", str(root), "--dataset", "ReasonSeg|train,ReasonSeg|val"]) == 1
    said = capsys.readouterr().out
    key = f"ReasonSeg|val/{last.stem}"
    assert f"fault: {key}: the JPEG is cut short: it has no end marker ({last})\n" in said
    assert f"note: 1 picture is one of ReasonSeg|train, e.g. {key} = ReasonSeg|train/another" in said


# ---- videos -----------------------------------------------------------------------------------------------------------
TRAINED, SCORED = "3f1e2d0c9b8a", "0d9c8b7a6f5e"


def frames_of(root: Path, split: str, video: str) -> list[Path]:
    return sorted((root / "mevis" / split / "JPEGImages" / video).iterdir())


def noted(root: Path) -> list[tuple[str, str]]:
    return list(notes(open_source(f"mevis|{split}", root) for split in ("train", "valid_u")))


@pytest.mark.parametrize(
    "scored, trained, is_found",
    [
        (0, 0, True),
        (-1, 3, True),  # the last frame somewhere in a longer video
        ("middle", -1, True),
        (1, 1, False),  # no frame that is looked at
        (None, None, False),
    ],
)
def test_a_video_that_shares_a_frame_with_training_is_noted(
    scored: int | str | None, trained: int | None, is_found: bool, tmp_path: Path
) -> None:
    root = copy_of("mevis", tmp_path)
    mine, theirs = frames_of(root, "valid_u", SCORED), frames_of(root, "train", TRAINED)
    number = (len(mine) - 1) // 2 if scored == "middle" else scored
    if isinstance(number, int) and trained is not None:
        shutil.copy(theirs[trained], mine[number])
    told = "1 video shows a frame of mevis|train, e.g. mevis|valid_u/0d9c8b7a6f5e = mevis|train/3f1e2d0c9b8a"
    assert noted(root) == ([("mevis|valid_u", told)] if is_found else [])


def test_a_whole_video_under_another_name_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = copy_of("mevis", tmp_path)
    mine, theirs = frames_of(root, "valid_u", SCORED), frames_of(root, "train", TRAINED)
    for number, file in enumerate(mine):
        shutil.copy(theirs[number], file)
    main(["--dataset_dir", str(root), "--dataset", "mevis|train,mevis|valid_u"])
    assert "note: 1 video shows a frame of mevis|train" in capsys.readouterr().out


def test_a_black_frame_is_in_many_videos(tmp_path: Path) -> None:
    root = copy_of("mevis", tmp_path)
    for split, video in (("train", TRAINED), ("valid_u", SCORED)):
        file = frames_of(root, split, video)[0]
        Image.new("RGB", (128, 96)).save(file)
    assert noted(root) == []


def test_a_video_of_both_splits_is_found_where_they_share_a_folder(tmp_path: Path) -> None:
    root = copy_of("revos", tmp_path)
    train, valid = (root / f"ReVOS/meta_expressions_{split}_.json" for split in ("train", "valid"))
    content = json.loads(valid.read_text())
    name, video = next(iter(json.loads(train.read_text())["videos"].items()))
    content["videos"][name] = video
    valid.write_text(json.dumps(content))
    [(scored, told)] = notes(open_source(f"revos|{split}", root) for split in ("train", "valid"))
    assert scored == "revos|valid" and f"revos|valid/{name} = revos|train/{name}" in told


def test_a_film_in_two_splits_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "my_data" / "videos"
    home.mkdir(parents=True)
    shutil.copy(film(home / "a.mp4", 3), home / "b.mp4")
    for ending, name in (("", "a.mp4"), ("_val", "b.mp4")):
        one = {"video": name, "mask": [[[[1, 1, 20, 1, 20, 20]]] * 3], "text": ["the ring"]}
        (tmp_path / "my_data" / f"video_annotations{ending}.json").write_text(json.dumps([one]))
    assert main(["--dataset_dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert (
        "note: 1 video shows a frame of my_videos|train, e.g. my_videos|val/0 = my_videos|train/0\n" in said
    )
