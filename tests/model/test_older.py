"""What version 49f5cfb wrote opens as it did, and what was typed then means what it meant (tests/goldens/49f5cfb)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seglm.model import probe
from seglm.model.load import choose_recipe, kept_recipe, load, load_unmerged
from seglm.model.recipe import Recipe
from seglm.training import choose
from seglm.utils.cli import read
from seglm.utils.config import leaves
from tests.model.layouts import canonical_tensors, write_bases
from tests.tiny import tiny_model

GOLDENS = Path(__file__).parents[1] / "goldens" / "49f5cfb"
COMMON = (
    "--version bases/llava --vision-tower bases/clip --vision_pretrained bases/sam/sam.pth --dataset_dir data "
    "--no_eval --epochs 1 --steps_per_epoch 2 --batch_size 2 --lora_r 2 --lora_alpha 4 optim.warmup_steps=2 "
    "optim.decoder_waits=0 project.as_point=false trainable.lora.dropout=0.05"
).split()
RATES = "data.rates=1.5,3,0.5,6"
TYPED = {
    "lisa": ["--recipe", "lisa_tiny", RATES],
    "gsva": ["--recipe", "gsva_tiny", "data.rates=1,6,0.5,2.5", "engine.rejected_masks=peer"],
    "keyseg": ["--recipe", "keyseg_tiny", RATES, "fusion.hidden=16"],
    "keyseg_faithful": [
        "--recipe", "keyseg_tiny", RATES, "fusion.kind=faithful", "fusion.hidden=16", "decoder.restart=true",
    ],
}  # fmt: skip
"""folder -> its command, but for what is COMMON; whoever changes a number of a recipe on purpose adds the old one here"""


def typed(*arguments: str) -> Recipe:
    return choose.choose(read(arguments)).recipe


@pytest.mark.parametrize("name", TYPED)
def test_a_manifest_holds_the_recipe_that_its_command_gives_today(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bases of that command are not here.
    monkeypatch.setattr(choose, "refuse_absent_base", lambda recipe: None)
    kept = kept_recipe(GOLDENS / name)
    assert kept == typed(*TYPED[name], *COMMON)
    chosen = choose_recipe(GOLDENS / name)
    assert chosen.recipe == kept and "manifest" in chosen.reason


@pytest.mark.parametrize("name", TYPED)
def test_trained_weights_find_their_places_over_a_base(name: str, tmp_path: Path) -> None:
    base = write_bases(tmp_path, tiny_model())
    model, recipe = load_unmerged(
        base.backbone.weights,
        weight=str(GOLDENS / name),
        vision=base.backbone.vision,
        decoder=base.decoder.weights,
    )
    assert recipe.system == name.partition("_")[0]
    found, trained = canonical_tensors(model), load_file(GOLDENS / name / "model.safetensors")
    assert trained and all(torch.equal(found[path], tensor) for path, tensor in trained.items())


@pytest.mark.parametrize("name", ["merged_lisa", "merged_keyseg"])
def test_a_merged_folder_answers_its_probe(name: str) -> None:
    folder = GOLDENS / name
    model, recipe = load(str(folder))
    assert recipe.name == f"{name.removeprefix('merged_')}_tiny" and recipe.backbone.weights == str(folder)
    assert set(probe.check(model, folder, saved="fp32")) >= {"logits", "masks"}


@pytest.mark.parametrize(
    "name, setting, path, value",
    [
        ("keyseg", "fusion.kind=faithful", "fusion.kind", "faithful"),
        ("keyseg", "decoder.restart=true", "decoder", "RestartedSam"),
        ("keyseg_faithful", "decoder.restart=false", "decoder", "Sam"),
        ("gsva", "engine.rejected_masks=leave_out", "terms.dice.rejected", "leave_out"),
        ("lisa", "data.sem_seg=ade20k", "data.sets.sem_seg", ("ade20k",)),
        ("lisa", "data.mixture=vqa,sem_seg", "data.mixture", ("vqa", "sem_seg")),
        ("lisa", "terms.bce.weight=3", "terms.bce.weight", 3.0),
        ("lisa", "engine.attention=flex", "engine.attention", "flex"),
        ("lisa", "decoder.image_size=128", "decoder.image_size", 128),
    ],
)
def test_a_setting_of_then_changes_a_manifest_of_then(
    name: str, setting: str, path: str, value: object
) -> None:
    before: dict[str, Any] = dict(leaves(typed("--init_from", str(GOLDENS / name))))
    after = dict(leaves(typed("--init_from", str(GOLDENS / name), setting)))
    assert before[path] != value and after[path] == value
