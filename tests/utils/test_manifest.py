"""A manifest says how a checkpoint came about, and its hashes change with what they stand for."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from seglm.utils import manifest as module
from seglm.utils.manifest import describe_ids, fingerprint, manifest, versions, weights_entry, write_manifest


@pytest.mark.parametrize("other", [["a", "c"], ["b", "a"], ["a"], ["a", "b", "c"], ["ab"]])
def test_the_hash_of_a_source_changes_with_any_key_or_order(other: list[str]) -> None:
    assert describe_ids(["a", "b"]) == describe_ids(iter(["a", "b"]))
    assert describe_ids(["a", "b"])["samples"] == 2
    assert describe_ids(["a", "b"])["ids"] != describe_ids(other)["ids"]


def test_a_large_file_is_known_by_samples_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE", 64)
    monkeypatch.setattr(module, "PIECE", 8)
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(range(200)))
    first = fingerprint(file)
    assert first.startswith("sampled:")
    file.write_bytes(bytes(range(199)) + b"x")
    assert fingerprint(file) != first
    file.write_bytes(b"small")
    assert fingerprint(file) == f"sha256:{hashlib.sha256(b'small').hexdigest()}"


def test_weights_are_listed_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    (tmp_path / "notes.txt").write_bytes(b"2")
    assert list(weights_entry(tmp_path)["files"]) == ["model.safetensors"]
    assert list(weights_entry(tmp_path / "model.safetensors")["files"]) == ["model.safetensors"]
    assert weights_entry("owner/name")["files"] == {}


def test_everything_a_reader_needs_is_in_it_and_it_is_json(tmp_path: Path) -> None:
    content = manifest(
        recipe="lisa_tiny",
        system="lisa",
        resolved={"name": "lisa_tiny"},
        bases={"llm": tmp_path},
        data={"toy|train": describe_ids(["toy|train/0"])},
        trainable=[{"path": "project", "kind": "full"}],
        step=500,
    )
    write_manifest(tmp_path / "manifest.json", content)
    again = json.loads((tmp_path / "manifest.json").read_text())
    assert again == content
    assert set(again) == {
        "format", "recipe", "system", "written", "commit", "versions", "bases", "data", "trainable", "resolved", "step",
    }  # fmt: skip
    assert {"torch", "transformers", "peft"} <= set(versions())
    assert not list(tmp_path.glob("*.part"))


def test_the_commit_is_that_of_the_checkout_and_of_no_repository_round_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "somebody's own")
    for package, is_ours in (("utils", True), ("env/site-packages/seglm/utils", False)):
        file = tmp_path / package / "manifest.py"
        file.parent.mkdir(parents=True)
        shutil.copy(str(module.__file__), file)
        monkeypatch.setattr(module, "__file__", str(file))
        assert bool(module.commit()) == is_ours
