"""What ships of the originals' tensors is what they computed: packed, borrowed from each other, rounded below the tolerance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conformance import ship
from tests.conformance.goldens import ABSOLUTE, RELATIVE, borrowed, held, read


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two cases of a family: the second has the first one's weight under another name, and was computed with it."""
    monkeypatch.setattr(ship, "SHIPPED", tmp_path / "shipped")
    torch.manual_seed(0)
    weight = torch.randn(40, 40)
    save = {
        "weights/model.safetensors": {"conv.weight": weight, "conv.bias": torch.zeros(4)},
        "train/io.safetensors": {
            "decoder.conv.weight": weight,
            "in.images": torch.zeros(3, 64, 64, dtype=torch.int8),
            "in.half": torch.randn(5).bfloat16(),
            "out.masks": torch.tensor([1 / 3, -1e30, 0.0, 7e-41, float("inf"), float("nan")]),
            "out.ids": torch.tensor([2**31 + 1]),
            "in.none": torch.zeros(0, 2),
        },
    }
    for name, values in save.items():
        (tmp_path / "all" / "family" / name).parent.mkdir(parents=True)
        save_file(values, tmp_path / "all" / "family" / name)
    (tmp_path / "all" / "family" / "train" / "io.json").write_text("{}")
    ship.main(["family/weights", "family/train", "--goldens", str(tmp_path / "all")])
    return tmp_path


def test_a_shipped_case_reads_as_the_complete_one(shipped: Path) -> None:
    case = "family/train/io.safetensors"
    got, want = read(shipped / "shipped" / case, root=shipped / "shipped"), held(shipped / "all" / case)
    assert set(got) == set(want)
    for name, value in want.items():
        tolerance = (
            dict(rtol=RELATIVE / 6, atol=ABSOLUTE / 6) if name == "out.masks" else dict(rtol=0, atol=0)
        )
        torch.testing.assert_close(got[name], value, **tolerance, equal_nan=True)
    assert (shipped / "shipped" / "family" / "train" / "io.json").read_text() == "{}"


def test_a_tensor_is_stored_once_and_a_compressible_file_packed(shipped: Path) -> None:
    file = shipped / "shipped" / "family" / "train" / "io.safetensors"
    weights = shipped / "shipped" / "family" / "weights" / "model.safetensors"
    assert "decoder.conv.weight" not in held(file) and not file.exists()
    assert borrowed(file, root=shipped / "shipped") == {weights: {"decoder.conv.weight": "conv.weight"}}


def test_what_others_borrow_stays_when_a_file_is_shipped_again(shipped: Path) -> None:
    ship.main(["family/weights", "--goldens", str(shipped / "all")])
    file = shipped / "shipped" / "family" / "train" / "io.safetensors"
    assert "decoder.conv.weight" in read(file, root=shipped / "shipped")
    held_there = held(shipped / "shipped" / "family" / "weights" / "model.safetensors")
    assert set(held_there) == {"conv.weight", "conv.bias"}
