"""Trained weights are put on the base that they were trained on, once."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seglm.model.build import base_weights
from seglm.model.load import load, load_unmerged, load_with_trained
from seglm.model.merge import export
from seglm.model.recipe import Recipe
from seglm.model.released.errors import WeightsError
from seglm.utils.config import to_json
from seglm.utils.manifest import manifest
from seglm.utils.portable import save_portable
from tests.model.layouts import canonical_tensors, trainable_only, write_bases
from tests.tiny import tiny_model


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return write_bases(tmp_path / "bases", tiny_model())


@pytest.fixture
def weight(tmp_path: Path, recipe: Recipe) -> Path:
    """What a training writes."""
    told = manifest(
        recipe=recipe.name,
        system=recipe.system,
        resolved=to_json(recipe),
        bases=base_weights(recipe).bases,
    )
    save_portable(tmp_path / "portable", trainable_only(canonical_tensors(tiny_model())), told)
    return tmp_path / "portable"


def merged(recipe: Recipe, weight: Path, out: Path) -> Path:
    base = base_weights(recipe)
    built = load_with_trained(base, str(weight), recipe)
    told = manifest(
        recipe=recipe.name,
        system=recipe.system,
        resolved=to_json(recipe),
        bases=base.bases | {"trained": str(weight)},
    )
    export(built, out, manifest=told)
    return out


def test_weights_are_not_added_to_a_base_that_holds_them(
    tmp_path: Path, recipe: Recipe, weight: Path
) -> None:
    whole = merged(recipe, weight, tmp_path / "whole")
    load(str(whole))
    with pytest.raises(
        WeightsError, match=rf"{whole} \(--version\) is .*portable \(--weight\) merged with its base"
    ):
        load_unmerged(str(whole), weight=str(weight))


def test_on_the_base_they_were_trained_on_nothing_is_said(
    recipe: Recipe, weight: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load_with_trained(base_weights(recipe), str(weight), recipe)
    assert "other files" not in caplog.text


def test_another_base_is_said_with_its_name(
    tmp_path: Path, recipe: Recipe, weight: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(5)
    other = write_bases(tmp_path / "others", tiny_model())
    sam = torch.load(other.decoder.weights, weights_only=True)
    torch.save({name: tensor + 1 for name, tensor in sam.items()}, other.decoder.weights)
    mixed = replace(recipe, decoder=replace(recipe.decoder, weights=other.decoder.weights))
    with caplog.at_level(logging.WARNING):
        load_with_trained(base_weights(mixed), str(weight), mixed)
    assert f"were trained on other files than {other.decoder.weights}; is that their base?" in caplog.text


def test_a_manifest_that_says_nothing_of_bases_is_no_hindrance(recipe: Recipe, weight: Path) -> None:
    file = weight / "manifest.json"
    content = json.loads(file.read_text())
    for bases in ({}, {"llava": {}}, {"llava": {"path": "x", "files": {}}}):
        file.write_text(json.dumps(content | {"bases": bases}))
        load_with_trained(base_weights(recipe), str(weight), recipe)


@pytest.mark.parametrize(
    "place, value",
    [
        ("backbone", 2),
        ("optim.betas", "ab"),
        ("schedule.batch_size", -1),
        ("trainable.lora.targets", 0),
        ("decoder.class", "os.system"),
        ("read_at", "abc"),
        ("terms", 1.5),
    ],
)
def test_a_damaged_recipe_in_a_manifest_is_an_error_that_names_the_weights(
    place: str, value: object, recipe: Recipe, weight: Path
) -> None:
    file = weight / "manifest.json"
    content = json.loads(file.read_text())
    at = content["resolved"]
    *way, last = place.split(".")
    for step in way:
        at = at[step]
    at[last] = value
    file.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=f"^{weight}: the recipe in the manifest beside these weights: "):
        load_unmerged(recipe.backbone.weights, weight=str(weight))
