"""A change of the code that is none for the user leaves five losses of every `*_tiny` recipe as they are; a stop does as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden_losses import GOLDENS, RECIPES, STOP_AFTER, losses, toy_world

RELATIVE = 1e-4


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_world(tmp_path_factory.mktemp("losses"))


def kept(recipe: str) -> dict[int, float]:
    lines = (GOLDENS / f"{recipe}.txt").read_text(encoding="ascii").splitlines()
    return {int(step): float(loss) for step, loss in (line.split() for line in lines)}


@pytest.mark.parametrize("recipe", RECIPES)
def test_five_steps_give_the_losses_that_are_kept(recipe: str, world: Path, tmp_path: Path) -> None:
    assert losses(tmp_path, recipe, world) == pytest.approx(kept(recipe), rel=RELATIVE)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_stopped_after_two_steps_goes_on_with_the_other_three(
    recipe: str, world: Path, tmp_path: Path
) -> None:
    assert list(losses(tmp_path, recipe, world, "--stopped")) == [1, STOP_AFTER]
    assert losses(tmp_path, recipe, world, "--resume") == pytest.approx(kept(recipe), rel=RELATIVE)
