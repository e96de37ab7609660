"""What a recipe says about its batches is what the batches are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seglm.training import from_recipe
from seglm.training.from_recipe import check_batch
from tests.evaluation.fakes import FakeSource
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


def test_a_batch_beyond_the_data_is_said_and_one_beyond_memory_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe, sources = tiny_recipe(), [FakeSource(6), FakeSource(4)]
    for size, told in (
        (10, ""),
        (11, "schedule.batch_size=11 (--batch_size) is more than the 10 samples of all data sets"),
    ):
        check_batch(replace(recipe, schedule=replace(recipe.schedule, batch_size=size)), sources)
        assert (told in caplog.text) if told else not caplog.text
    huge = replace(recipe, schedule=replace(recipe.schedule, batch_size=10**9))
    with pytest.raises(
        ValueError,
        match=r"batch_size=1000000000 .*one batch alone take .* GiB, this machine has .*--grad_acc",
    ):
        check_batch(huge, sources)
