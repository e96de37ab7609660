"""What lies in a file's place and is no such file: named as what it is, at once, whatever was to be read there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seglm.dataset.check import check_source
from seglm.dataset.faults import Fault
from seglm.dataset.frames import frame_size, read_frame, read_labels
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.unpickle import unpickle
from seglm.dataset.readers.video import open_video
from seglm.evaluation.scores.files import read_mask
from tests.dataset.mini import copy_of

READ: dict[str, Callable[[Path, str], Any]] = {
    "a.json": read_json,
    "refs(unc).p": unpickle,
    "a.jpg": read_frame,
    "b.jpg": frame_size,
    "labels.png": read_labels,
    "a.mp4": open_video,
}
"""name -> what reads such a file"""
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
PAGE = b"\n<!DOCTYPE html><html><body>404</body></html>"


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(
    "content, told",
    [(POINTER, "the file is a git-lfs pointer .git lfs pull"), (PAGE, "the file is a web page")],
)
def test_what_a_download_leaves_is_called_by_its_name(
    name: str, content: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Fault, match=rf"^set/a: .*{told}.*{name[:4]}"):
        READ[name](tmp_path / name, "set/a")


@pytest.mark.timeout(20)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
@pytest.mark.parametrize("name", READ)
def test_a_pipe_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(Fault, match=r"^set/a: .*is a pipe or a device, permitted is a file"):
        READ[name](tmp_path / name, "set/a")


@pytest.mark.timeout(20)
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without an end")
@pytest.mark.parametrize("name", READ)
def test_a_link_to_a_device_does_not_fill_the_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(Fault, match=r"^set/a: .*is a pipe or a device"):
        READ[name](tmp_path / name, "set/a")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
def test_a_predicted_mask_that_is_a_pipe_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="no such mask"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize(
    "text",
    ['{"videos": {"a": 1, "a": 2}}', '[{"id": 1, "x": 0, "id": 1}]', '{"a": {}, "b": [], "c": 3, "b": []}'],
)
def test_of_two_fields_of_one_name_none_is_taken(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(
        Fault, match=r"^set: is no JSON: two fields of one object are called '(a|id|b)' .*a\.json"
    ):
        read_json(file, "set")


def test_a_video_that_is_listed_twice_is_a_fault_of_its_set(tmp_path: Path) -> None:
    meta = copy_of("mevis", tmp_path) / "mevis/train/meta_expressions.json"
    videos = json.loads(meta.read_text())["videos"]
    first, *_ = videos
    twice = ", ".join(f"{json.dumps(name)}: {json.dumps(videos[name])}" for name in (*videos, first))
    meta.write_text(f'{{"videos": {{{twice}}}}}')
    [told] = check_source("mevis|train", tmp_path).faults
    assert told.startswith("mevis|train: ") and f"are called '{first}'" in told


@pytest.mark.parametrize(
    "mini, spec, picture",
    [
        ("ade20k", "ade20k|training", "ade20k/images/training/new.jpg"),
        ("mapillary", "mapillary|training", "mapillary/training/images/new.jpg"),
        ("coco_stuff", "cocostuff|train2017", "coco/train2017/000000000999.jpg"),
    ],
)
def test_pictures_without_a_label_map_are_counted(mini: str, spec: str, picture: str, tmp_path: Path) -> None:
    root = copy_of(mini, tmp_path)
    before = check_source(spec, root)
    Image.new("RGB", (8, 8)).save(root / picture)
    found = check_source(spec, root)
    assert found.samples == before.samples and not found.faults
    assert "left out: 1 pictures without a label map" in found.notes


@pytest.mark.parametrize("damage, told", [("missing", "missing image"), ("broken", "no end marker")])
def test_the_check_opens_pictures_in_which_nothing_is_asked_for(
    damage: str, told: str, tmp_path: Path
) -> None:
    root = copy_of("ade20k", tmp_path)
    labels = root / "ade20k/annotations/training/ADE_train_00000001.png"
    with Image.open(labels) as stored:
        Image.fromarray(np.zeros(stored.size[::-1], dtype=np.uint8)).save(labels)
    picture = root / "ade20k/images/training/ADE_train_00000001.jpg"
    assert not check_source("ade20k|training", root, share=1).faults
    if damage == "missing":
        picture.unlink()
    else:
        picture.write_bytes(picture.read_bytes()[:-20])
    [fault] = check_source("ade20k|training", root, share=1).faults
    assert fault.startswith("ade20k|training/ADE_train_00000001: ") and told in fault
