"""docs/adding_a_dataset.md is true: its table has every field, and its example file, its data and its commands work."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm.dataset.description import Description, Scored
from tests.house.checkout import copy_checkout, run
from tests.house.documented import commands
from tests.house.tree import ROOT

DOCUMENT = ROOT / "docs" / "adding_a_dataset.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def block(language: str) -> str:
    """The document's only block in a language."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.parametrize("kind", [Description, Scored])
def test_the_tables_have_every_field(kind: type) -> None:
    rows = re.findall(r"^\| (`[^|]+?) \|", TEXT, flags=re.MULTILINE)
    told = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert {field.name for field in fields(kind)} <= told


def write_leaves(folder: Path) -> None:
    """Three pictures to train on and two to be scored, a bright patch on a dark leaf, with records as the document has them."""
    [example] = json.loads(block("json"))
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for split, names in {"train": "abc", "val": "de"}.items():
        (folder / f"{split}.json").write_text(json.dumps([{**example, "name": name} for name in names]))
        for name in names:
            y, x = (int(corner) for corner in rng.integers(0, 24, 2))
            mask = np.zeros((40, 48), dtype=np.uint8)
            mask[y : y + 12, x : x + 16] = 255
            Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
            leaf = np.where(mask[..., None] > 0, 220, rng.integers(0, 90, (40, 48, 3))).astype(np.uint8)
            Image.fromarray(leaf).save(folder / "images" / f"{name}.png")


@pytest.mark.slow
def test_the_example_is_checked_trained_drawn_and_scored(tmp_path: Path) -> None:
    root = copy_checkout(tmp_path / "checkout")
    file = root / "dataset" / "sources" / "leaves.py"
    assert f"`{file.relative_to(root)}`" in TEXT and not file.exists()
    file.write_text(block("python"))
    write_leaves(root / "my_data" / "leaves")
    lines = [shlex.split(line) for line in commands(DOCUMENT) if "leaves" in line]
    assert [line[0] for line in lines] == ["python"] * 4
    checked, trained, _, scored = [run(root, *line[1:]) for line in lines]
    assert "leaves|train: good; 3 samples" in checked
    assert "leaves|train: 3 samples" in trained and "done after step 1 of 1" in trained
    assert (
        "one expression a leaf, its first wording" in scored and "### leaves|val, protocol generate" in scored
    )
    with Image.open(root / "runs/leaves/scores/merged_leaves_val/worst_and_best.png") as sheet:
        assert sheet.height > 2 * 200  # a row for each of the two pictures
    every = ("--val_dataset", "leaves|val|all_texts", "--inference_only")
    assert "predictions.csv" in run(root, *lines[3][1:], *every)
    answers = root / "runs/leaves/scores/merged_leaves_val_all_texts/predictions.csv"
    assert len(answers.read_text().splitlines()) == 1 + 2 * 2  # a heading, and two wordings of two pictures
