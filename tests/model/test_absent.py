"""What is missing, or what the machine cannot do, is said before any tensor is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import train_ds
from seglm.model.backbones.llava import Llava
from seglm.model.build import base_weights
from seglm.model.decoders.sam import Sam
from seglm.model.load import load
from seglm.model.recipes import recipe as named
from seglm.model.systems.keyseg import RestartedSam
from seglm.utils.dist import World
from tests.model.layouts import canonical_tensors, write_clip, write_lisa_release, write_llava
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return canonical_tensors(tiny_model(), adapters=False)


def test_all_that_is_missing_is_named_at_once_before_anything_is_read(
    tmp_path: Path, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> object:
        raise AssertionError("a tensor is read")

    llava, recipe = str(write_llava(tmp_path / "llava", tensors)), named("lisa_7b")
    lisa = str(write_lisa_release(tmp_path / "lisa", tensors, vision="./no clip"))
    monkeypatch.setattr("seglm.model.released.llava.read_tensors", read)
    monkeypatch.setattr("seglm.model.released.lisa.read_tensors", read)

    def missing(weights: str, decoder: Sam) -> str:
        backbone = Llava(weights=weights, vision="./no clip")
        with pytest.raises(FileNotFoundError) as caught:
            base_weights(replace(recipe, backbone=backbone, decoder=decoder))
        return str(caught.value)

    said = missing("./no llava", Sam("./no.pth"))
    assert (
        said.startswith("3 things are not there")
        and "--version" in said
        and "the mask decoder (--vision_pretrained)" in said
    )
    assert missing(llava, Sam("./no.pth")).startswith(
        "2 things are not there\nthe vision tower (--vision-tower): './no clip'"
    )
    assert missing(lisa, Sam("./no.pth")).startswith("the vision tower")  # it holds its own SAM,
    assert missing(lisa, RestartedSam("./no.pth")).startswith("2 things")  # which is not begun with
    with pytest.raises(
        FileNotFoundError, match=r"3 things(?s:.*)--version(?s:.*)--vision-tower(?s:.*)--vision_pretrained"
    ):
        load("./no model", vision="./no clip", decoder="./no.pth")
    with pytest.raises(FileNotFoundError, match="^the vision tower"):
        load(lisa, recipe="lisa_7b")


def test_a_training_names_all_that_is_missing_before_it_looks_at_data(tmp_path: Path) -> None:
    command = ["--recipe", "lisa_7b", "--version", "./no model", "--vision_pretrained", "./no.pth"]
    with pytest.raises(
        SystemExit, match=r"^error: 3 things(?s:.*)--version(?s:.*)--vision-tower(?s:.*)--vision_pretrained"
    ):
        train_ds.main([*command, "--vision-tower", "./no clip", "--log_base_dir", str(tmp_path)])
    assert not any(tmp_path.iterdir())


def test_what_the_machine_cannot_do_is_said_before_anything_is_read(
    tmp_path: Path, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = str(write_clip(tmp_path / "clip", tensors))
    lisa = str(write_lisa_release(tmp_path / "lisa", tensors, vision=clip))
    monkeypatch.delattr("seglm.model.released.lisa.read_tensors")
    with pytest.raises(ValueError, match=r"engine.precision \(--precision\)=fp16 needs a GPU"):
        load(lisa, recipe="lisa_7b", vision=clip, precision="fp16", world=World())
