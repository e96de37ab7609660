"""The whole join learns: eight samples of the toy world, from the committed bases, by LISA's own recipe."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
import torch

from seglm import preflight
from seglm.dataset.faults import Fault
from seglm.dataset.pipeline import TrainingSet
from seglm.dataset.toy.write import write
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.preflight import ENOUGH, chosen_recipe, first_with_masks, main, overfit
from seglm.utils.config import override
from seglm.utils.types import Slot
from tests.tiny import tiny_example


def test_data_are_looked_for_where_a_training_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGLM_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataset" / "ade20k").mkdir(parents=True)
    given = Namespace(recipe="lisa_7b", dataset_dir=None, version=None, settings=[])
    assert chosen_recipe(given).data.dataset_dir == "./dataset"
    given.dataset_dir = "./data"
    assert chosen_recipe(given).data.dataset_dir == "./data"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_eight_samples_are_learnt_to_an_iou_above_0_9(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "toy", images=16, val_images=4, test_images=4, seed=0)
    settings = [
        ("data.dataset_dir", str(tmp_path / "toy")),
        ("data.mixture", "refer_seg"),
        ("data.rates", "1"),
    ]
    outcome = overfit(override(named("lisa_tiny"), settings))
    assert outcome.passed and outcome.iou > ENOUGH
    arguments = [
        "--recipe",
        "lisa_tiny",
        "--steps",
        "1",
        "--samples",
        "2",
        *(f"{k}={v}" for k, v in settings),
    ]
    assert main(arguments) == 1  # one step teaches nothing, and it says so
    assert "FAILED: IoU" in capsys.readouterr().out


def test_families_that_join_a_run_later_are_among_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = named("sa2va_tiny")
    assert recipe.data.joins

    def look(recipe: Recipe) -> tuple[()]:
        assert not recipe.data.joins
        raise Fault("looked at")

    monkeypatch.setattr(preflight, "training_sources", look)
    with pytest.raises(Fault, match="looked at"):
        overfit(recipe)


def test_a_mixture_without_masks_is_refused_and_not_searched_for_ever() -> None:
    example = tiny_example(("Sure, {}.",))
    words = replace(example, branches=tuple(replace(branch, slots=()) for branch in example.branches))
    [branch] = example.branches
    rejecting = replace(branch, slots=tuple(replace(one, slot=Slot("[REJ]", 0, ())) for one in branch.slots))
    samples = cast(TrainingSet, [words, replace(example, branches=(rejecting,))] * 100)
    with pytest.raises(ValueError, match="of the first 200 samples of this mixture 0 ask for a mask"):
        first_with_masks(samples, 2)


def test_nothing_drawn_where_nothing_is_counts_as_right() -> None:
    truth = torch.zeros(3, 4, 4, dtype=torch.bool)
    truth[0, :2] = True
    logits = torch.where(truth, 1.0, -1.0)
    logits[2, 0, 0] = 1  # something, where nothing is
    model: Any = MagicMock()
    model.masks_by_frame.return_value = (logits,)
    batch = cast(Any, SimpleNamespace(masks=(truth,), ignore=(None,)))
    outcome = preflight._look(model, batch, 20)
    assert (outcome.iou, outcome.worst) == (pytest.approx(2 / 3), 0)
    batch.ignore = (logits[2] > 0,)  # nobody taught it that there is nothing
    assert preflight._look(model, batch, 20).iou == 1


def test_settings_may_stand_behind_flags_and_data_lie_where_a_training_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dataset" / "coco").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGLM_DATA", raising=False)
    chosen: list[Recipe] = []
    outcome = preflight.Outcome(1, 1, 1)
    monkeypatch.setattr(preflight, "overfit", lambda recipe, **_: chosen.append(recipe) or outcome)
    said = "--recipe lisa_7b data.rates=1 --steps 3 data.mixture=vqa --lr 1e-3 engine.seed=5"
    assert main(said.split()) == 0
    [recipe] = chosen
    assert (recipe.data.mixture, recipe.engine.seed, recipe.data.dataset_dir) == (("vqa",), 5, "./dataset")
