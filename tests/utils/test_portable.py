from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from seglm.model.probe import write as write_reading
from seglm.model.released.folder import write_shards
from seglm.utils.portable import is_portable, read_portable, save_portable
from tests.training.processes import die_at

WEIGHTS = {"llm.lora_A.weight": torch.randn(2, 3), "project.0.weight": torch.randn(4).double().float()}


def test_what_is_saved_is_read_to_the_bit(tmp_path: Path) -> None:
    transposed = torch.randn(3, 5).t()
    save_portable(tmp_path / "p", {**WEIGHTS, "decoder.x": transposed}, {"recipe": "lisa_tiny", "step": 5})
    tensors, manifest = read_portable(tmp_path / "p")
    assert set(tensors) == {*WEIGHTS, "decoder.x"}
    assert all(torch.equal(tensors[name], tensor) for name, tensor in WEIGHTS.items())
    assert torch.equal(tensors["decoder.x"], transposed)
    assert manifest["recipe"] == "lisa_tiny" and manifest["weights"]["tensors"] == 3
    assert is_portable(tmp_path / "p") and not is_portable(tmp_path)


def test_every_file_has_the_rights_that_new_files_have(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_portable(tmp_path / "p", WEIGHTS, {})
        write_shards(tmp_path, dict(WEIGHTS))
        write_reading(tmp_path, WEIGHTS)
    finally:
        os.umask(before)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 4
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in files} == {
        file.name: "0o644" for file in files
    }


def test_weights_of_another_manifest_are_refused(tmp_path: Path) -> None:
    save_portable(tmp_path / "p", WEIGHTS, {})
    save_portable(tmp_path / "q", {"llm.lora_A.weight": torch.zeros(2, 3)}, {})
    os.replace(tmp_path / "q" / "model.safetensors", tmp_path / "p" / "model.safetensors")
    with pytest.raises(ValueError, match="its manifest says"):
        read_portable(tmp_path / "p")


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    save_portable(tmp_path / "p", WEIGHTS, {})
    (tmp_path / "p" / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing; a run keeps it in"):
        read_portable(tmp_path / "p")


def test_no_weights_are_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without weights"):
        save_portable(tmp_path / "p", {}, {})


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    number = 0
    while True:
        folder = tmp_path / str(number)
        save_portable(folder, {"a": torch.zeros(1)}, {"step": 1})
        child = os.fork()
        if child == 0:
            die_at(number)
            save_portable(folder, {"a": torch.ones(1)}, {"step": 2})
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        tensors, manifest = read_portable(folder)
        assert (manifest["step"], float(tensors["a"])) in ((1, 0.0), (2, 1.0))
        save_portable(folder, {"a": torch.full((1,), 3.0)}, {"step": 3})
        assert read_portable(folder)[1]["step"] == 3
        if not killed:
            assert manifest["step"] == 2
            break
        number += 1
    assert number > 4
