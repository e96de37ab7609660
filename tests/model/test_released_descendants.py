"""Weights of LISA's descendants: KeySeg out of a released LISA, GSVA's training files that were never merged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seglm.model.build import build
from seglm.model.decoders.sam import Sam
from seglm.model.load import load_unmerged
from seglm.model.recipe import Recipe
from seglm.model.released.errors import WrongNames
from seglm.model.segmenter import Segmenter
from seglm.model.settings import Lora
from seglm.model.systems.keyseg import RestartedSam
from tests.model.layouts import (
    canonical_tensors,
    training_state,
    write_bases,
    write_clip,
    write_lisa_release,
    write_sam,
)
from tests.tiny import SQUARE, tiny_model, tiny_recipe


def keyseg_from_lisa(folder: Path, *, restart: bool) -> tuple[Recipe, dict[str, torch.Tensor]]:
    """A released LISA beside another SAM, and the recipe that starts from them."""
    lisa = canonical_tensors(tiny_model(seed=1), adapters=False)
    other = canonical_tensors(tiny_model(seed=2), adapters=False)
    clip = write_clip(folder / "clip", lisa)
    release = write_lisa_release(folder / "lisa", lisa, vision=str(clip))
    sam = write_sam(folder / "sam.pth", other)
    recipe = tiny_recipe("keyseg_7b")
    return replace(
        recipe,
        backbone=replace(recipe.backbone, weights=str(release), vision=str(clip)),
        decoder=(RestartedSam if restart else Sam)(weights=str(sam), image_size=SQUARE),
    ), {
        "lisa": lisa["decoder.mask_decoder.iou_token.weight"],
        "sam": other["decoder.mask_decoder.iou_token.weight"],
    }


@pytest.mark.parametrize("restart", [False, True])
def test_keyseg_keeps_what_lisa_has_learnt_unless_it_is_told_to_start_anew(
    tmp_path: Path, restart: bool
) -> None:
    recipe, tokens = keyseg_from_lisa(tmp_path, restart=restart)
    built = build(recipe)
    assert built.report.complete
    fresh = {name.split(".")[0] for name in built.report.allowed if ".lora_" not in name}
    assert fresh == ({"fuse", "project"} if restart else {"fuse"})
    got = built.model.state_dict()["decoder.mask_decoder.iou_token.weight"]
    assert torch.equal(got, tokens["sam" if restart else "lisa"])
    assert (
        built.model.encoder.token_id("[SEG]") == 560 and built.model.encoder.token_id("[KEY]") == 563
    )  # the last


def gsva_file(folder: Path, *, rank: int) -> tuple[Path, Recipe, Segmenter]:
    """Bases, and a file as GSVA releases them: all names of the training, adapters of this rank."""
    recipe = tiny_recipe("gsva_7b")
    recipe = replace(recipe, trainable=replace(recipe.trainable, lora=Lora(r=rank, dropout=0.0)))
    model = tiny_model(recipe, seed=3)
    bases = write_bases(folder, tiny_model(seed=4))
    torch.save(training_state(canonical_tensors(model)), folder / "gsva-7b-pt.bin")
    return folder / "gsva-7b-pt.bin", bases, model


@pytest.mark.parametrize("rank", [0, 3])
def test_gsva_is_used_as_released_with_the_rank_it_was_trained_with(tmp_path: Path, rank: int) -> None:
    file, bases, trained = gsva_file(tmp_path, rank=rank)
    model, recipe = load_unmerged(
        bases.backbone.weights,
        weight=str(file),
        recipe="gsva_7b",
        precision="fp32",
        vision=bases.backbone.vision,
        decoder=bases.decoder.weights,
    )
    assert recipe.trainable.lora.r == rank and recipe.reject_token == "[REJ]"
    got, wanted = dict(model.named_parameters()), dict(trained.named_parameters())
    assert set(wanted) == set(got)
    assert all(
        torch.equal(got[name], wanted[name]) for name in wanted if not name.startswith("backbone.vision")
    )


def test_a_file_without_what_training_changes_is_refused(tmp_path: Path) -> None:
    file, bases, _ = gsva_file(tmp_path, rank=3)
    state = torch.load(file)
    torch.save({name: tensor for name, tensor in state.items() if "text_hidden_fcs" not in name}, file)
    with pytest.raises(WrongNames, match="project"):
        load_unmerged(
            bases.backbone.weights,
            weight=str(file),
            recipe="gsva_7b",
            vision=bases.backbone.vision,
            decoder=bases.decoder.weights,
        )
