"""Which files of a folder are its weights: one order for folders and the hub's cache, and what is no weights at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seglm.model.released.files import read_tensors, shapes
from seglm.utils.containers import WeightsError, containers, flaw

OLD, NEW = {"a": torch.zeros(3), "b": torch.zeros(2)}, {"a": torch.ones(3), "b": torch.ones(2)}
ST, BIN = "model.safetensors", "pytorch_model.bin"
SHARDS = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")


def write(folder: Path, name: str, tensors: dict[str, torch.Tensor]) -> None:
    """A file of this name; `NAME.index.json` stands for an index with its two shards."""
    folder.mkdir(exist_ok=True)
    if name.endswith(".index.json"):
        weight_map = dict(zip(tensors, SHARDS, strict=True))
        (folder / name).write_text(json.dumps({"weight_map": weight_map}))
        for key, shard in weight_map.items():
            torch.save({key: tensors[key]}, folder / shard)
    elif name.endswith(".safetensors"):
        save_file(tensors, folder / name)
    else:
        torch.save(tensors, folder / name)


@pytest.mark.parametrize(
    "files, chosen",
    [
        ((ST, BIN), ST),
        ((ST, f"{BIN}.index.json"), ST),
        ((BIN, f"{BIN}.index.json"), BIN),
        ((f"{BIN}.index.json", "training_args.bin"), f"{BIN}.index.json"),
        (("lora.safetensors", "training_args.bin"), "lora.safetensors"),
        (("sam.pth", "optimizer.pt", "rng_state_0.pth", "._sam.pth"), "sam.pth"),
        ((*SHARDS, "scheduler.pt"), SHARDS[0]),
    ],
)
def test_transformers_order_decides_and_what_a_trainer_leaves_is_no_weights(
    tmp_path: Path, files: tuple[str, ...], chosen: str
) -> None:
    for name in files:
        write(tmp_path, name, NEW if name not in SHARDS else {name: torch.ones(1)})
    found = containers(tmp_path)
    assert found[0].name == chosen
    assert len(read_tensors(tmp_path)) == 2 and shapes(tmp_path).keys() == read_tensors(tmp_path).keys()


@pytest.mark.parametrize("first, second", [(ST, f"{BIN}.index.json"), (ST, BIN), (BIN, f"{BIN}.index.json")])
def test_two_sets_that_differ_are_an_error_with_both_names(tmp_path: Path, first: str, second: str) -> None:
    write(tmp_path, first, NEW)
    write(tmp_path, second, OLD)
    with pytest.raises(WeightsError, match=rf"two sets.*{first} and {second} \(a differs\); move"):
        read_tensors(tmp_path)


def test_an_index_without_its_shards_does_not_hide_the_weights_beside_it(tmp_path: Path) -> None:
    write(tmp_path, f"{BIN}.index.json", OLD)
    for shard in SHARDS:
        (tmp_path / shard).unlink()
    write(tmp_path, "weights.safetensors", NEW)
    assert torch.equal(read_tensors(tmp_path)["a"], NEW["a"])


@pytest.mark.parametrize("lost", SHARDS)
def test_shards_of_which_one_is_gone_are_no_weights(tmp_path: Path, lost: str) -> None:
    write(tmp_path, f"{BIN}.index.json", NEW)
    (tmp_path / lost).unlink()
    for _ in range(2):  # with the index, then without
        with pytest.raises(WeightsError, match=rf"shards that are not there: {lost}"):
            read_tensors(tmp_path)
        (tmp_path / f"{BIN}.index.json").unlink(missing_ok=True)


def test_a_tensor_that_the_index_promises_and_no_shard_holds_is_named(tmp_path: Path) -> None:
    write(tmp_path, f"{BIN}.index.json", NEW)
    torch.save({"c": torch.ones(1)}, tmp_path / SHARDS[1])
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin\.index\.json: 1 tensors.*e\.g\. b;"):
        read_tensors(tmp_path)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 2560000\n"
PAGE = b"\n<!DOCTYPE html><html><body>Sign in</body></html>"


@pytest.mark.parametrize("name", [ST, "sam.pth", "tokenizer.model", "config.json"])
@pytest.mark.parametrize(
    "content, said", [(b"", "empty"), (POINTER, "git-lfs pointer"), (PAGE, "a web page"), (b"Entry not found", "text")]
)  # fmt: skip
def test_a_download_that_is_not_the_file_is_called_what_it_is(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in flaw(tmp_path / name) or (name == "config.json" and said == "text")


@pytest.mark.parametrize("name", [ST, "sam.pth"])
@pytest.mark.parametrize("kept", [5, 40, 0.5, 0.99])
def test_a_download_that_stopped_is_cut_short(tmp_path: Path, name: str, kept: float) -> None:
    write(tmp_path, name, {"a": torch.randn(400)})
    whole = (tmp_path / name).read_bytes()
    size = int(kept if kept > 1 else kept * len(whole))
    (tmp_path / name).write_bytes(whole[:size])
    for read in (read_tensors, shapes):
        with pytest.raises(WeightsError, match=rf"{name}: cut short, {size} bytes; fetch the file again"):
            read(tmp_path / name)


def test_a_prefix_that_every_name_has_is_taken_off_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write(tmp_path, BIN, {f"module._orig_mod.{name}": tensor for name, tensor in NEW.items()})
    assert read_tensors(tmp_path).keys() == shapes(tmp_path).keys() == NEW.keys()
    assert "every name begins with module._orig_mod., which is taken off" in caplog.text
