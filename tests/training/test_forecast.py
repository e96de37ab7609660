"""What a run says before its first step: how often it will see its samples, and what will probably go wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.training import forecast


@dataclass(frozen=True)
class Told:
    """As much of a source as the forecast asks for."""

    name: str
    family: str
    samples: int

    def __len__(self) -> int:
        return self.samples


SEEN = Told("ReasonSeg|train", "reason_seg", 200)
TALKED = Told("llava_instruct_150k|train", "vqa", 1000)
REFERRED = (Told("refcoco|unc|train", "refer_seg", 50), Told("refcocog|umd|train", "refer_seg", 50))


def mixed(**rates: float) -> Recipe:
    recipe = named("lisa_7b")
    data = replace(recipe.data, mixture=tuple(rates), rates=tuple(rates.values()))
    schedule = replace(recipe.schedule, epochs=2, steps_per_epoch=10, batch_size=3, grad_accumulation_steps=5)
    return replace(recipe, data=data, schedule=schedule, optim=replace(recipe.optim, warmup_steps=2))


def test_each_source_is_told_with_its_draws() -> None:
    lines = forecast.draws(mixed(reason_seg=1, refer_seg=3), [SEEN, *REFERRED], world_size=2)
    assert lines == [
        "ReasonSeg|train: 200 samples, 25.0 % of the draws: 150 in 20 steps, each 0.75 times",
        "refcoco|unc|train: 50 samples, 37.5 % of the draws: 225 in 20 steps, each 4.5 times",
        "refcocog|umd|train: 50 samples, 37.5 % of the draws: 225 in 20 steps, each 4.5 times",
    ]


def test_a_family_that_joins_later_has_fewer_draws_and_the_others_more() -> None:
    """Of 20 steps 5 are about ReasonSeg alone, and of the other 15 it has a quarter."""
    recipe = mixed(reason_seg=1, refer_seg=3)
    recipe = replace(recipe, data=replace(recipe.data, joins={"refer_seg": 0.25}))
    parts = forecast.shares(recipe, [SEEN, *REFERRED])
    assert parts == pytest.approx([(5 + 15 / 4) / 20, 15 * 3 / 8 / 20, 15 * 3 / 8 / 20])
    first, *later = forecast.draws(recipe, [SEEN, *REFERRED], world_size=2)
    assert first.endswith("times") and all(line.endswith("times, from step 6 on") for line in later)


@pytest.mark.parametrize(
    ("joins", "steps"),
    [({}, 0), ({"vqa": 0.5}, 0), ({"reason_seg": 0.25, "refer_seg": 0.5}, 5), ({"refer_seg": 0.5}, 0)],
)
def test_steps_before_the_first_masks_are_known(joins: dict[str, float], steps: int) -> None:
    recipe = mixed(reason_seg=1, refer_seg=3, vqa=1)
    recipe = replace(recipe, data=replace(recipe.data, joins=joins))
    assert forecast.without_masks(recipe, [SEEN, *REFERRED, TALKED]) == steps
    assert forecast.without_masks(mixed(vqa=1), [TALKED]) == 0


def test_captions_with_masked_phrases_are_masks_and_no_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing in them can be scored as an expression."""
    monkeypatch.setattr(forecast, "outside", list)
    grounded = Told("grandf_gcg|train", "gcg", 100)
    recipe = mixed(gcg=1, vqa=1)
    assert not list(forecast.doubts(recipe, [grounded, TALKED], new_tokens=()))
    recipe = replace(recipe, data=replace(recipe.data, joins={"gcg": 0.25}))
    assert forecast.without_masks(recipe, [grounded, TALKED]) == 5
    [doubt] = forecast.doubts(mixed(gcg=1), [grounded], new_tokens=())
    assert "the model will forget how to talk" in doubt


def test_a_decoder_that_waits_is_told_and_one_that_waits_to_the_end_doubted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecast, "outside", list)
    recipe, sources = mixed(reason_seg=1, vqa=1), [SEEN, TALKED]

    def waits(share: float, **changes: object) -> Recipe:
        optim = replace(recipe.optim, decoder_waits=share)
        return replace(recipe, optim=optim, trainable=replace(recipe.trainable, **changes))  # type: ignore[arg-type]

    assert forecast.waiting(waits(0.25)) == "the mask decoder stays as it is for 5 of 20 steps"
    assert not forecast.waiting(recipe) and not forecast.waiting(waits(0.25, full=("project",)))
    assert not list(forecast.doubts(waits(0.9), sources, new_tokens=()))
    [doubt] = forecast.doubts(waits(0.95), sources, new_tokens=())
    assert "never trained: optim.decoder_waits=0.95 leaves it one step of 20" in doubt
    assert not list(forecast.doubts(waits(0.95, full=("project",)), sources, new_tokens=()))


def test_a_warm_up_as_long_as_the_run_is_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the last of 20 steps 18 of the warm-up are done, as the schedule counts from one step late."""
    monkeypatch.setattr(forecast, "outside", list)
    recipe, sources = mixed(reason_seg=1, vqa=1), [SEEN, TALKED]
    warm = [replace(recipe, optim=replace(recipe.optim, warmup_steps=steps)) for steps in (19, 20, 100)]
    none, some, more = (list(forecast.doubts(one, sources, new_tokens=())) for one in warm)
    assert not none and "to 90 % of optim.lr: optim.warmup_steps=20 of 20 steps" in some[0]
    assert "to 18 % of optim.lr" in more[0]


def test_a_mixture_without_words_is_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "outside", list)
    [doubt] = forecast.doubts(mixed(reason_seg=1), [SEEN], new_tokens=())
    assert "forget how to talk" in doubt and "vqa" in doubt
    assert list(forecast.doubts(mixed(reason_seg=1, vqa=0.1), [SEEN, TALKED], new_tokens=())) == []
    [doubt] = forecast.doubts(mixed(reason_seg=1, vqa=0), [SEEN, TALKED], new_tokens=())
    assert "forget how to talk" in doubt


@pytest.mark.parametrize("how", ["frozen", "unlearnt"])
def test_a_new_token_that_cannot_be_learnt_is_doubted(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "outside", list)
    recipe = mixed(reason_seg=1, vqa=1)
    if how == "frozen":
        full = tuple(path for path in recipe.trainable.full if path != "llm.lm_head")
        recipe = replace(recipe, trainable=replace(recipe.trainable, full=full))
    else:
        language, *rest = recipe.terms
        recipe = replace(recipe, terms=(replace(language, weight=0.0), *rest))
    [doubt] = forecast.doubts(recipe, [SEEN, TALKED], new_tokens=("[SEG]",))
    assert "[SEG] will never be written" in doubt and "terms.language.weight" in doubt
    assert not list(
        forecast.doubts(recipe, [SEEN, TALKED], new_tokens=())
    )  # weights that can write it already


def test_packages_that_were_not_tried_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "outside", lambda: ["torch 1.13.1 (tried with >=2.10)"])
    [doubt] = forecast.doubts(mixed(reason_seg=1, vqa=1), [SEEN, TALKED], new_tokens=())
    assert "torch 1.13.1" in doubt


@pytest.mark.parametrize(
    ("name", "talks"),
    [("lisa_7b", True), ("gsva_7b", True), ("keyseg_7b", False), ("lisa_tiny", True), ("gsva_tiny", True)],
)
def test_of_the_shipped_recipes_keyseg_alone_trains_no_talk(
    name: str, talks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its authors train it; that it is said is right."""
    monkeypatch.setattr(forecast, "outside", list)
    recipe = named(name)
    families = recipe.data.families().items()
    sources = [Told(spec.split("|")[0], family, 10) for family, specs in families for spec in specs]
    doubts = list(forecast.doubts(recipe, sources, new_tokens=recipe.vocabulary))
    assert (doubts == []) == talks and all("forget how to talk" in doubt for doubt in doubts)
