"""A system is one file, a data set is one file: with two new files a copy of the checkout trains, merges, answers and scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.house.checkout import copy_checkout, run

HERE = Path(__file__).parent / "one_file"
NEW = {"model/systems/dots.py": HERE / "system.py", "dataset/sources/dots.py": HERE / "data.py"}


def write_pictures(root: Path) -> None:
    """Six pictures, a bright box on a dark ground."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        records = []
        for number in range(count):
            x, y = (int(value) for value in rng.integers(0, 30, 2))
            picture = rng.integers(0, 60, (48, 64, 3), np.uint8)
            picture[y : y + 15, x : x + 20] = 230
            Image.fromarray(picture).save(root / "images" / f"{split}{number}.png")
            records.append(
                {"image": f"{split}{number}.png", "text": "the box", "box": [x, y, x + 20, y + 15]}
            )
        (root / f"{split}.json").write_text(json.dumps(records))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git tracks, with the two files."""
    root = copy_checkout(tmp_path_factory.mktemp("copy") / "checkout")
    for place, file in NEW.items():
        assert not (root / place).exists()
        shutil.copy(file, root / place)
    write_pictures(root / "data" / "dots")
    return root


@pytest.mark.slow
def test_two_new_files_train_merge_answer_and_score(copy: Path) -> None:
    assert "dots_tiny" in run(copy, "train_ds.py", "--list")
    assert "dots|train" in run(
        copy, "-m", "seglm.dataset.check", "--dataset_dir", "data", "--dataset", "dots"
    )
    said = run(copy, "train_ds.py", "--recipe", "dots_tiny", "--dataset_dir", "data", "fusion.start=0.25")
    assert "short" in said and "done after step 2 of 2" in said
    weights = "runs/dots_tiny/portable"
    run(copy, "merge_lora_weights_and_save_hf_model.py", "--weight", weights, "--save_path", "merged")
    config = json.loads((copy / "merged" / "config.json").read_text())
    assert config["resolved"]["fusion"] == {"class": "seglm.model.systems.dots:Scaled", "start": 0.25}
    assert config["dims"]["decoder"] == {"width": 6}
    asked = ("--image", "data/dots/images/val0.png", "--prompt", "Please segment the box in this image.")
    assert "text_output" in run(copy, "chat.py", "--version", "merged", *asked)
    benchmark = ("--val_dataset", "dots|val", "--protocol", "forced")
    scored = run(
        copy, "-m", "seglm.evaluation.run", "--version", "merged", "--dataset_dir", "data", *benchmark
    )
    assert "gIoU" in scored
    assert (copy / "runs" / "eval" / "merged_dots_val" / "worst_and_best.png").is_file()
