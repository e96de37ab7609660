"""What a recipe says about its batches is what the batches are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seglm.training import from_recipe
from tests.tiny import tiny_example, tiny_model, tiny_recipe


@pytest.mark.parametrize(
    ("changes", "rows"), [({}, 2), ({"row_tokens": 4000}, 1), ({"share_prefix": False}, 4)], ids=str
)
def test_how_a_recipe_lays_out_its_rows(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], rows: int
) -> None:
    recipe = tiny_recipe()
    recipe = replace(recipe, engine=replace(recipe.engine, **changes))  # type: ignore[arg-type]
    monkeypatch.setattr(from_recipe, "training_set", lambda *_: [])
    feed = from_recipe.feed(recipe, (), tiny_model(recipe))
    answers = [("It is {}.", "Sure, {}."), ("It is {}, as you can see.", "Sure, {}.")]
    examples = [tiny_example(said, key=f"tiny/{number}") for number, said in enumerate(answers)]
    assert feed.collate(examples).ids.shape[0] == rows
