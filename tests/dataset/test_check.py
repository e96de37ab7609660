"""The check finds what is missing or malformed before a run does, with counts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seglm.dataset.check import check_source, main, report
from seglm.dataset.readers import video_records
from tests.dataset.mini import MINI, copy_of


def test_good_data_passes_and_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dataset_dir", str(MINI / "refcoco"), "--decode", "1"]) == 0
    said = capsys.readouterr().out
    assert "refcoco|unc|testA: good; 2 samples, 8 expressions, 2 decoded, 0 faults" in said
    assert "not there: ReasonSeg, ade20k" in said


def test_every_missing_image_is_listed_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy_of("coco_stuff", tmp_path)
    for name in ("000000000037", "000000000111"):
        (root / "coco/train2017" / f"{name}.jpg").unlink()
    assert main(["--dataset_dir", str(root)]) == 1
    said = capsys.readouterr().out
    for name in ("000000000037", "000000000111"):
        assert f"cocostuff|train2017/{name}: missing image" in said
    assert "2 faults" in said


def test_a_malformed_json_and_a_missing_one_are_found(tmp_path: Path) -> None:
    root = copy_of("reasonseg", tmp_path)
    broken, missing = sorted((root / "reason_seg/ReasonSeg/val").glob("*.json"))
    broken.write_text("{")
    missing.unlink()
    found = check_source("ReasonSeg|val", root)
    assert len(found.faults) == 2 and found.samples == 2
    assert f"ReasonSeg|val/{broken.stem}: is no JSON" in found.faults[0]
    assert f"ReasonSeg|val/{missing.stem}: cannot be read" in found.faults[1]
    assert "cannot be read" in report(found) and "seglm.dataset.check" not in report(
        found
    )  # it is what has run


def test_images_cut_short_are_found_when_they_are_decoded(tmp_path: Path) -> None:
    root = copy_of("pascal_part", tmp_path)
    image = next((root / "vlpart/pascal_part/VOCdevkit/VOC2010/JPEGImages").iterdir())
    image.write_bytes(image.read_bytes()[:-100])
    assert not check_source("pascal_part", root, share=0).faults
    assert "cut short" in check_source("pascal_part", root, share=1).faults[0]


def test_the_known_bad_samples_of_reasonseg_are_named_and_are_no_fault() -> None:
    found = check_source("ReasonSeg|test", MINI / "reasonseg", share=1)
    assert not found.faults
    assert any("041521771_test" in note for note in found.notes) or not (MINI / "reasonseg").exists()
    assert any("issue 157" in note for note in found.notes)


def test_an_absent_folder_is_told_with_the_tree_that_is_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dataset_dir", str(tmp_path), "--dataset", "ade20k"]) == 1
    assert "ade20k/images/{training,validation}/*.jpg" in capsys.readouterr().out
    assert main(["--dataset_dir", str(tmp_path)]) == 1
    assert "no data set is there" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="^error: --dataset_dir .*none: no such folder; give the one"):
        main(["--dataset_dir", str(tmp_path / "none")])


def test_an_unknown_name_ends_with_the_usage(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--dataset_dir", str(tmp_path), "--dataset", "refcocoq"])


def test_an_expression_of_a_video_with_pixels_and_no_thing_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_records, "Target", partial(replaced, video_records.Target))
    found = check_source("mevis|valid_u", MINI / "mevis", share=1)
    assert found.faults and all("names no thing (`objects`)" in told for told in found.faults)


def replaced(target: Any, **given: Any) -> Any:
    return target(**{**given, "objects": ()})


def test_masks_of_0_and_255_have_no_object_where_255_is_to_be_ignored(tmp_path: Path) -> None:
    root = copy_of("ref_davis17", tmp_path)
    files = list((root / "DAVIS17/valid/Annotations").glob("*/*.png"))
    for file in files:
        numbers = np.array(Image.open(file))
        Image.fromarray(np.where(numbers > 0, 255, 0).astype(np.uint8)).save(file)
    found = check_source("ref_davis17|valid", root, share=1)
    assert len(found.faults) == len({file.parent for file in files})
    assert all(
        "are the masks of 0 and 255? An object's pixels are its own number" in one for one in found.faults
    )
