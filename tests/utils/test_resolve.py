"""Every flag that names weights goes through one resolver, with the network blocked."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from seglm.utils.resolve import FETCHED, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, an empty Hugging Face cache, and no network at all."""
    from huggingface_hub import constants

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("the network is blocked in this test")

    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("WEIGHTS_ROOT", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def cached(root: Path, name: str, files: dict[str, str], *, ref: str = "main") -> Path:
    """Writes a repository into the cache as huggingface_hub lays it out."""
    repo = root / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / ref).write_text(COMMIT)
    for file, text in files.items():
        (snapshot / file).write_text(text)
    return snapshot


@pytest.mark.parametrize("place", ["LISA-7B", "checkpoints/LISA-7B", "pretrained/LISA-7B"])
def test_a_folder_is_found_as_given_and_below_the_usual_roots(here: Path, place: str) -> None:
    Path(place).mkdir(parents=True)
    assert resolve("LISA-7B") == Path(place)


def test_the_last_part_of_a_hub_id_is_enough_below_the_usual_roots(here: Path) -> None:
    Path("checkpoints/LISA-7B-v1").mkdir(parents=True)
    assert resolve("xinlai/LISA-7B-v1") == Path("checkpoints/LISA-7B-v1")


@pytest.mark.parametrize("given", ["runs/lisa_B/merged", "runs/merged", "rnus/lisa_B/merged"])
def test_a_path_that_is_not_there_is_not_another_folder_s_weights_of_the_same_name(
    here: Path, given: str
) -> None:
    Path("pretrained/merged").mkdir(parents=True)
    Path("runs/lisa_A/merged").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=f"{given!r} was not found"):
        resolve(given)
    Path("pretrained", given).mkdir(parents=True)
    assert resolve(given) == Path("pretrained", given)


def test_weights_root_is_searched_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTS_ROOT", str(here / "weights"))
    (here / "weights").mkdir()
    (here / "weights" / "sam_vit_h_4b8939.pth").touch()
    assert resolve("sam_vit_h_4b8939.pth") == here / "weights" / "sam_vit_h_4b8939.pth"


@pytest.mark.parametrize("ref, revision", [("main", None), ("v1.1", "v1.1"), ("main", COMMIT)])
def test_a_hub_id_comes_from_the_cache_without_a_network(here: Path, ref: str, revision: str | None) -> None:
    snapshot = cached(here, "xinlai/LISA-7B-v1", {"config.json": "{}", "pytorch_model.bin": "x"}, ref=ref)
    assert resolve("xinlai/LISA-7B-v1", revision=revision) == snapshot


def test_a_half_fetched_cache_is_not_taken_for_the_model(here: Path) -> None:
    index = json.dumps(
        {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    )
    files = {"model.safetensors.index.json": index, "model-00001-of-00002.safetensors": "x"}
    cached(here, "owner/name", files)
    with pytest.raises(FileNotFoundError, match="was not found"):
        resolve("owner/name")


def test_an_index_whose_shards_are_absent_does_not_hide_whole_weights_in_the_cache(here: Path) -> None:
    index = json.dumps({"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}})
    files = {"pytorch_model.bin.index.json": index, "model.safetensors": "x", "training_args.bin": "x"}
    snapshot = cached(here, "owner/name", files)
    assert resolve("owner/name") == snapshot
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="was not found"):
        resolve("owner/name")


def test_the_error_lists_every_place_and_the_next_step(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTS_ROOT", "/nowhere")
    with pytest.raises(FileNotFoundError) as caught:
        resolve("xinlai/LISA-7B-v1", what="the base (--version)", revision="v2")
    text = str(caught.value)
    for part in (
        "the base (--version): 'xinlai/LISA-7B-v1' was not found",
        "checkpoints/xinlai/LISA-7B-v1",
        "pretrained/LISA-7B-v1",
        "/nowhere/LISA-7B-v1",
        str(here / "hub"),
        "at v2",
        "the hub (",
        "hf download xinlai/LISA-7B-v1",
    ):
        assert part in text


@pytest.mark.parametrize("name, told", FETCHED.items())
def test_a_published_file_that_is_no_hub_id_is_named_with_the_command_that_fetches_it(
    here: Path, name: str, told: str
) -> None:
    for path in (name, f"weights/of mine/{name}"):
        with pytest.raises(FileNotFoundError) as caught:
            resolve(path)
        assert str(caught.value).endswith(told) and name in told and "<owner>" not in told


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is there as far as the settings say."""


@pytest.mark.parametrize(
    "prepare, name, reason",
    [
        (offline, "owner/name", "HF_HUB_OFFLINE is set"),
        (nothing, "sam_vit_h_4b8939.pth", "a hub id looks like owner/name"),
        (nothing, "./mine/LISA", "a hub id looks like owner/name"),
    ],
)
def test_the_error_says_why_the_hub_was_not_asked(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[pytest.MonkeyPatch], None],
    name: str,
    reason: str,
) -> None:
    prepare(monkeypatch)
    with pytest.raises(FileNotFoundError, match=reason):
        resolve(name)


def test_a_revision_of_a_local_folder_is_an_error(here: Path) -> None:
    Path("mine").mkdir()
    with pytest.raises(ValueError, match="only a hub id has revisions"):
        resolve("mine", revision="v1")


@pytest.mark.parametrize("path", ["", " "])
def test_no_path_is_not_the_working_directory(here: Path, path: str) -> None:
    with pytest.raises(ValueError, match=r"SAM \(--vision_pretrained\): an empty path"):
        resolve(path, what="SAM (--vision_pretrained)")
