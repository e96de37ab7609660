"""What a recipe says about its batches is what the batches are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seglm.dataset.mixture import Mixture
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.training import from_recipe
from seglm.training.choose import configured
from seglm.training.from_recipe import check_batch, check_names_of_data, training_sources
from seglm.training.sampler import Feed
from seglm.training.saves import Save
from seglm.utils.cli import read
from tests.dataset.test_sa2va_sets import osprey, said
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


class Pages(FakeSource):
    """Sample n is n long."""

    family = "refer_seg"

    def length(self, index: int) -> int:
        return index


def by_length(accumulation: int) -> Recipe:
    recipe = tiny_recipe()
    data = replace(recipe.data, order="by_length", mixture=("refer_seg",), rates=(1.0,))
    schedule = replace(recipe.schedule, batch_size=2, grad_accumulation_steps=accumulation)
    return replace(recipe, data=data, schedule=schedule)


def test_a_pass_by_length_takes_every_sample_once_in_the_numbers_that_a_loader_asks_for() -> None:
    recipe = by_length(3)
    data = recipe.data
    taking = from_recipe.order(recipe, [Pages(24)])
    feed: Feed[object] = Feed((), list, batch_size=2, accumulation=3)
    drawn = [
        [taking.draw(number)[1] for number in batch]
        for step in range(4)
        for batch in feed.numbers(step * feed.per_step)
    ]
    assert sorted(index for batch in drawn for index in batch) == list(range(24))
    for first in range(0, len(drawn), 3):
        step = [index for batch in drawn[first : first + 3] for index in batch]
        assert step == sorted(step, reverse=True)
    plain = replace(recipe, data=replace(data, order="drawn"))
    assert isinstance(from_recipe.order(plain, [Pages(24)]), Mixture)
    with pytest.raises(
        ValueError, match="data.order=passes a rate is how often a sample is taken in a pass, a whole"
    ):
        replace(data, order="passes", rates=(0.5,)).shares()


@pytest.mark.parametrize("later", [1, 2, 8])
def test_a_pass_by_length_goes_on_with_steps_of_another_size_and_leaves_nobody_out(later: int) -> None:
    """Three steps of 8 samples of 40, then steps of 2, 4 and 16."""
    before, since = from_recipe.order(by_length(4), [Pages(40)]), Save(Path(), 3, {"samples": 24}, 0)
    behind = from_recipe.order(by_length(later), [Pages(40)], since)
    taken = [*map(before.draw, range(24)), *map(behind.draw, range(24, 40))]
    assert sorted(index for _, index in taken) == list(range(40))


def test_a_family_that_joins_is_one_that_there_is() -> None:
    recipe = named("sa2va_tiny")
    check_names_of_data(replace(recipe, data=replace(recipe.data, joins={"davis": 0.1, "vqa": 0.2})))
    with pytest.raises(
        ValueError, match=r"data\.joins\.refer_seg_vidoe is drawn from by nobody; .*refer_seg_video"
    ):
        check_names_of_data(replace(recipe, data=replace(recipe.data, joins={"refer_seg_vidoe": 0.1})))


def test_a_data_set_that_is_named_as_a_family_is_one_of_its_own() -> None:
    """The example of docs/training.md, by the command's own way, and another name that a set is called by."""
    options = read(["--recipe=sa2va_4b", "--dataset=vqa||grandf_gcg||ytvos", "--sample_rates=1,10,1"])
    recipe = configured(named("sa2va_4b"), options)
    assert recipe.data.families() == {
        "vqa": ("llava_instruct_150k",),
        "grandf_gcg": ("grandf_gcg",),
        "ytvos": ("ytvos",),
    }
    check_names_of_data(recipe)
    wrong = configured(named("sa2va_4b"), read(["--dataset=vqa||gcg", "--sample_rates=1,1"]))
    with pytest.raises(ValueError, match=r"unknown family .*'gcg'; .*data\.sets\.gcg=NAME,NAME says which"):
        check_names_of_data(wrong)


def test_a_share_of_explanations_is_refused_where_answers_have_none() -> None:
    for name, reads in (
        ("lisa_tiny", True),
        ("gsva_tiny", True),
        ("keyseg_tiny", False),
        ("sa2va_tiny", False),
    ):
        recipe = named(name)
        check_names_of_data(recipe)
        with_some = replace(recipe, data=replace(recipe.data, explanatory=0.5))
        if reads:
            check_names_of_data(with_some)
        else:
            with pytest.raises(ValueError, match=rf"explanatory=0.5 \(--explanatory\).* {name} .*at -1"):
                check_names_of_data(with_some)


def test_regions_are_refused_by_a_recipe_that_cannot_show_them(tmp_path: Path) -> None:
    osprey(tmp_path, "conversation", conversations=said("Who is <region1>?", "He."))
    for name, shows in (("lisa_tiny", False), ("sa2va_tiny", True)):
        recipe = named(name)
        data = replace(recipe.data, mixture=("osprey",), rates=(1.0,), sets={"osprey": ("osprey",)})
        recipe = replace(recipe, data=replace(data, dataset_dir=str(tmp_path), exclude_val=False))
        if shows:
            assert len(training_sources(recipe)) == 1
        else:
            with pytest.raises(ValueError, match="osprey.conversation speaks of regions .* lisa_tiny cannot"):
                training_sources(recipe)


@pytest.mark.parametrize("before", [4, 16])
def test_a_family_joins_at_its_step_also_where_steps_took_other_numbers_of_samples_before_a_stop(
    before: int,
) -> None:
    """Steps of 8 samples behind 10 of another size; of the 40 steps 20 go by until the pages join."""

    class Pages(FakeSource):
        family = "vqa"

    recipe = tiny_recipe()
    data = replace(recipe.data, mixture=("reason_seg", "vqa"), rates=(1.0, 1.0), joins={"vqa": 0.5})
    schedule = replace(recipe.schedule, epochs=4, steps_per_epoch=10, batch_size=8, grad_accumulation_steps=1)
    since = Save(Path(), 10, {"samples": 10 * before}, 0)
    taking = from_recipe.order(
        replace(recipe, data=data, schedule=schedule), [FakeSource(6), Pages(9)], since
    )
    joined = 10 * before + 10 * 8
    assert {taking.draw(number)[0] for number in range(joined)} == {0}
    assert {taking.draw(number)[0] for number in range(joined, joined + 8)} == {0, 1}
