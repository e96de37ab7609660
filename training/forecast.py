"""What a run will do and what it probably will not, said before its first step: from its settings alone, nothing is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from seglm.dataset.mixture import Sized, phases
from seglm.dataset.sources import describe
from seglm.model.recipe import Recipe
from seglm.model.terms import Language
from seglm.model.trainable import fate
from seglm.training import optim
from seglm.training.settings import DECODER
from seglm.utils.versions import outside

LEAST_TALK = 0.01  # share of the draws in which nothing is segmented, which keeps a model talking
HEAD = "llm.lm_head.weight"


def shares(recipe: Recipe, sources: Sequence[Sized]) -> list[float]:
    """Which part of all draws each source gets; they add up to 1."""
    rates, members = recipe.data.shares(), Counter(source.family for source in sources)
    if recipe.data.order != "drawn":  # every sample is taken, as often as the rate of its family says
        taken = [rates[source.family] * len(source) for source in sources]
        return [count / sum(taken) for count in taken]
    drawn = dict.fromkeys(rates, 0.0)
    for begin, end, now in phases(rates, recipe.data.joins):
        for family, rate in now.items():
            drawn[family] += (end - begin) * rate / sum(now.values())
    return [drawn[source.family] / members[source.family] for source in sources]


def draws(recipe: Recipe, sources: Sequence[Sized], *, world_size: int) -> list[str]:
    """A line for each source: how many samples it has, how many the run draws of it and how often it so sees each of them.

    Draws are random, so these are the numbers to be expected.
    """
    schedule, steps = recipe.schedule, _steps(recipe)
    begins = {
        family: begin
        for begin, _, now in reversed(phases(recipe.data.shares(), recipe.data.joins))
        for family, rate in now.items()
        if rate
    }
    images = steps * schedule.batch_size * schedule.grad_accumulation_steps * world_size
    return [
        f"{source.name}: {len(source):,} samples, {100 * share:.1f} % of the draws: {share * images:,.0f} in {steps:,} steps, "
        f"each {share * images / len(source):.2g} times"
        + (
            f", from step {1 + optim.first_step(begin, total=steps):,} on"
            if (begin := begins.get(source.family))
            else ""
        )
        for source, share in zip(sources, shares(recipe, sources), strict=True)
    ]


def without_masks(recipe: Recipe, sources: Sequence[Sized]) -> int:
    """How many steps of the run go by before the first family joins that has masks; 0 if none has."""
    drawing = {source.family for source in sources if _has_masks(source)}
    begins = (
        begin
        for begin, _, now in phases(recipe.data.shares(), recipe.data.joins)
        if any(now[family] for family in drawing)
    )
    return optim.first_step(next(begins, 0.0), total=_steps(recipe))


def waiting(recipe: Recipe) -> str:
    """When the mask decoder begins to learn, if it waits; else empty."""
    if not recipe.optim.decoder_waits or not _trains_decoder(recipe):
        return ""
    return f"the mask decoder stays as it is for {_decoder_begins(recipe):,} of {_steps(recipe):,} steps"


def doubts(recipe: Recipe, sources: Sequence[Sized], *, new_tokens: Collection[str]) -> Iterator[str]:
    """What is permitted and probably not meant.

    new_tokens: those whose rows of the vocabulary are drawn anew, so that the model has to learn to write them.
    """
    parts = zip(sources, shares(recipe, sources), strict=True)
    if sum(share for source, share in parts if not _has_masks(source)) < LEAST_TALK:
        yield (
            f"next to no answer of this mixture is without {recipe.seg_token}: the model will forget how to talk; "
            "mix in conversations (vqa in --dataset, with a rate in --sample_rates)"
        )
    words = next((term.weight for term in recipe.terms if term.name == Language.name), 0.0)
    is_frozen = fate(HEAD, recipe.trainable)[1] == "frozen"
    if new_tokens and (is_frozen or not words):
        why = "llm.lm_head is frozen" if is_frozen else "the language term has no weight"
        yield (
            f"{', '.join(new_tokens)} will never be written: new to these weights, and {why}; no generated answer will have "
            "a mask. Name llm.lm_head in trainable.full and give terms.language.weight, or score evaluate.protocol=forced"
        )
    steps, rising = _steps(recipe), recipe.optim.warmup_steps
    if rising >= steps:
        most = optim.warmup_decay(steps - 1, total=steps, warmup=rising)
        yield (
            f"the learning rate rises to the very end, to {100 * most:.0f} % of optim.lr: optim.warmup_steps={rising:,} of "
            f"{steps:,} steps; give less"
        )
    if _trains_decoder(recipe) and 0 < _decoder_begins(recipe) == steps - 1:
        yield (
            f"the mask decoder is never trained: optim.decoder_waits={recipe.optim.decoder_waits:g} leaves it one step of "
            f"{steps:,}, the first of its warm-up, whose rate is 0; give less"
        )
    for line in outside():
        yield f"not the packages this was tried with: {line}"


def _has_masks(source: Sized) -> bool:
    """Whether answers about it have masks: expressions, or captions whose phrases are masked."""
    about, _ = describe(source.name)
    return about.scored is not None or "gcg" in about.families


def _steps(recipe: Recipe) -> int:
    return recipe.schedule.epochs * recipe.schedule.steps_per_epoch


def _decoder_begins(recipe: Recipe) -> int:
    return optim.first_step(recipe.optim.decoder_waits, total=_steps(recipe))


def _trains_decoder(recipe: Recipe) -> bool:
    return any(f"{path}.".startswith(DECODER) for path in recipe.trainable.full)
