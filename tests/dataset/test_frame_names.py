"""The order of a video's frames that a file names, and the masks that belong to them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm.dataset.faults import Fault
from seglm.dataset.sources import open_source
from tests.dataset.mini import copy_of
from tests.dataset.test_video_sets import edit, samples


@pytest.mark.parametrize("ending", ["png", "PNG"])
def test_frames_without_leading_zeros_are_shown_by_their_numbers_with_their_masks(
    ending: str, tmp_path: Path
) -> None:
    home, names = tmp_path / "DAVIS17/train", [str(number) for number in range(1, 12)]
    for folder in ("JPEGImages/kitchen", "Annotations/kitchen"):
        (home / folder).mkdir(parents=True)
    for number, name in enumerate(names):
        Image.new("RGB", (16, 8), (20 * number,) * 3).save(home / f"JPEGImages/kitchen/{name}.jpg")
        mask = np.zeros((8, 16), np.uint8)
        mask[:, : number + 1] = 1
        Image.fromarray(mask).save(home / f"Annotations/kitchen/{name}.{ending}")
    meta = tmp_path / "DAVIS17/meta_expressions/train/meta_expressions.json"
    meta.parent.mkdir(parents=True)
    cup = {"frames": sorted(names), "expressions": {"0": {"exp": "cup", "obj_id": "1"}}}
    meta.write_text(json.dumps({"videos": {"kitchen": cup}}))
    sample = open_source("davis|train", tmp_path).sample(0)
    assert list(sample.frame_names) == names
    assert [round(sample.frame(number).mean() / 20) for number in range(11)] == list(range(11))
    assert sample.targets[0].masks(range(11)).sum(axis=(1, 2)).tolist() == [8 * n for n in range(1, 12)]


def test_masks_that_are_found_by_place_belong_to_names_sorted_as_text(tmp_path: Path) -> None:
    root = copy_of("mevis", tmp_path)
    before = samples(open_source("mevis|valid_u", root))
    video, sample = next(iter(before.items()))
    new = {name: str(number + 8) for number, name in enumerate(sample.frame_names)}  # 8, 9, 10, ...
    folder = root / "mevis/valid_u/JPEGImages" / video
    for old, name in new.items():
        (folder / f"{old}.jpg").rename(folder / f"{name}.jpg")
    edit(
        root / "mevis/valid_u/meta_expressions.json",
        lambda content: content["videos"][video].update(frames=list(new.values())),
    )
    after = samples(open_source("mevis|valid_u", root))[video]
    assert list(after.frame_names) == sorted(new.values()) != list(new.values())
    every = range(sample.num_frames)
    assert (after.targets[0].masks(every) == sample.targets[0].masks(every)).all()


def test_a_frame_that_is_named_with_its_ending_is_told_so(tmp_path: Path) -> None:
    root = copy_of("mevis", tmp_path)
    edit(
        root / "mevis/valid_u/meta_expressions.json",
        lambda content: next(iter(content["videos"].values())).update(frames=["00000.jpg", "00001.JPG"]),
    )
    with pytest.raises(
        Fault, match="`frames` holds '00000.jpg', permitted are names of files without an ending"
    ):
        open_source("mevis|valid_u", root)
