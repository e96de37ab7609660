"""A picture that is trained on and scored is noted, whatever it is called; what is the same by design is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seglm.dataset.check import main
from seglm.dataset.sources import open_source
from seglm.dataset.twins import notes
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
