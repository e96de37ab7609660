"""What a training is made of, from its recipe: the data, the batches, the engine's settings, and what a run says about itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from seglm.dataset.collate import collate
from seglm.dataset.mixture import Mixture, Order, Passes
from seglm.dataset.pipeline import Source, TrainingSet
from seglm.dataset.sources import check_families, check_names, loaders, open_sources, top_folders
from seglm.model.build import Built
from seglm.model.older import with_settings
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.settings import Data
from seglm.training import forecast, optim
from seglm.training.plan import Plan
from seglm.training.sampler import Feed
from seglm.training.saves import Save
from seglm.training.settings import Settings
from seglm.utils import dist
from seglm.utils.config import difference, to_json
from seglm.utils.manifest import commit, describe_ids, manifest
from seglm.utils.types import Clip, Script

log = logging.getLogger(__name__)

GIB = 2**30

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter


def found_data(data: Data) -> Data:
    """The data where they lie on this machine, unless the recipe or the command names a folder of its own.

    Looked at: `$SEGLM_DATA`, `./data`, and `./dataset`, where users of the original code keep them. One folder of one data set is
    enough to know the place.
    """
    if data.dataset_dir != Data().dataset_dir:
        return data
    places = [os.environ.get("SEGLM_DATA", ""), data.dataset_dir, "./dataset"]
    found = [place for place in places if place and any(Path(place, name).exists() for name in top_folders())]
    return replace(data, dataset_dir=found[0]) if found else data


def own_families(data: Data) -> Data:
    """The data in which a data set that the mixture names as a family is one of its own."""
    alone = {name: (name,) for name in data.mixture if name not in data.sets and name.lower() in loaders()}
    return replace(data, sets={**data.sets, **alone}) if alone else data


def as_told(recipe: Recipe, settings: Sequence[tuple[str, Any]]) -> Recipe:
    """The recipe with a command's settings, its data where they lie, data sets that it names as families among them."""
    recipe = with_settings(replace(recipe, data=found_data(recipe.data)), settings)
    return replace(recipe, data=own_families(recipe.data))


def check_names_of_data(recipe: Recipe) -> None:
    """Raises ValueError for a name of a data set or a family that means nothing, and for explanations in a recipe whose answers
    have none; no file is opened."""
    if named(recipe.name).data.explanatory < 0 <= recipe.data.explanatory:
        raise ValueError(
            f"data.explanatory={recipe.data.explanatory:g} (--explanatory): the answers of recipe {recipe.name} have no "
            "explanations, so it would do nothing; leave it at -1"
        )
    check_families(recipe.data.sets, recipe.data.mixture)
    check_families(recipe.data.joins, recipe.data.mixture, path="data.joins")
    check_names(recipe.data.families())


def training_sources(recipe: Recipe) -> tuple[Source, ...]:
    """The data sets of the recipe's mixture. Raises ValueError also for a name in `data.sets` that means nothing here and for
    regions that the recipe cannot show, and what `Term.look` raises."""
    data = recipe.data
    check_names_of_data(recipe)
    for term in recipe.terms:
        term.look()
    sources = open_sources(Path(data.dataset_dir), data.families(), exclude_val=data.exclude_val)
    for source in sources if recipe.points is None else ():
        if "regions" in source.index.record(0):
            raise ValueError(
                f"{source.name} speaks of regions that are pointed at, and recipe {recipe.name} cannot show where they are; take "
                "it out of --dataset or data.sets, or train a recipe of sa2va"
            )
    return sources


def check_batch(recipe: Recipe, sources: Sequence[Source]) -> None:
    """Says a batch that can hardly be meant before a model is built: one of more samples than there are, or than memory holds.

    Raises ValueError where the pixels of one batch, a frame of each sample, are more than this machine's memory.
    """
    size, samples = recipe.schedule.batch_size, sum(len(source) for source in sources)
    said = f"schedule.batch_size={size} (--batch_size)"
    needed, memory = size * 3 * recipe.decoder.image_size**2, psutil.virtual_memory().total
    if needed > memory:
        raise ValueError(
            f"{said}: the pictures of one batch alone take {needed / GIB:.1f} GiB, this machine has {memory / GIB:.1f}; "
            "give fewer, and --grad_accumulation_steps for the same effective batch"
        )
    if size > samples:
        log.warning(
            "%s is more than the %d samples of all data sets: every batch holds some of them several times, and a step takes as "
            "long as so many samples do",
            said,
            samples,
        )


def training_set(
    recipe: Recipe, sources: Sequence[Source], model: Segmenter, since: Save | None = None
) -> TrainingSet:
    """The recipe's training samples, as this model wants them. since: as in `order`."""
    data = recipe.data
    return TrainingSet(
        mixture=order(recipe, sources, since),
        sources=sources,
        frames=recipe.frames,
        script=partial(spoken, recipe=recipe),
        encode=model.encoder.encode_script,
        targets_per_sample=data.targets_per_sample,
        vision_size=model.backbone.vision_size,
        decoder_size=recipe.decoder.image_size,
        pixels=data.pixels,
        leave_out_ignored=data.ignore == "leave_out",
        stretched=recipe.decoder.stretches,
        look=recipe.look,
    )


def order(recipe: Recipe, sources: Sequence[Source], since: Save | None = None) -> Order:
    """Which sample comes next. Raises ValueError if the rates do not fit.

    since: what a run goes on from. Its steps may have taken more or fewer samples than those to come, shares are of steps,
    and what is sorted by length is a step.
    """
    data, schedule = recipe.data, recipe.schedule
    per_step = schedule.batch_size * schedule.grad_accumulation_steps * dist.world().size
    taken = int(since.facts["samples"]) if since is not None else 0
    if data.order == "drawn":
        samples = schedule.epochs * schedule.steps_per_epoch * per_step
        ahead = taken - since.step * per_step if since is not None else 0
        return Mixture(
            sources, data.shares(), recipe.engine.seed, joins=data.joins, samples=samples, ahead=ahead
        )
    group = per_step if data.order == "by_length" else 0
    return Passes(sources, data.shares(), recipe.engine.seed, group=group, first=taken)


def spoken(clip: Clip, rng: np.random.Generator, *, recipe: Recipe) -> Script:
    """What the recipe says about a clip; at module level, so that it can be sent to a worker process."""
    return recipe.script(clip, rng, recipe)


def feed(recipe: Recipe, sources: Sequence[Source], model: Segmenter, since: Save | None = None) -> Feed[Any]:
    """The batches of this process. since: as in `order`."""
    schedule, world = recipe.schedule, dist.world()
    return Feed(
        training_set(recipe, sources, model, since),
        partial(
            collate, share_prefix=recipe.engine.share_prefix, row_tokens=recipe.engine.row_tokens or None
        ),
        batch_size=schedule.batch_size,
        accumulation=schedule.grad_accumulation_steps,
        rank=world.rank,
        world_size=world.size,
        workers=recipe.engine.workers,
        pin_memory=True,
    )


def settings(recipe: Recipe, plan: Plan) -> Settings:
    """What the engine has to know."""
    engine, schedule = recipe.engine, recipe.schedule
    return Settings(
        total_steps=plan.steps,
        batch_size=schedule.batch_size,
        accumulation=schedule.grad_accumulation_steps,
        zero=engine.zero,
        precision=engine.precision,
        loss_norm=engine.loss_norm,
        **asdict(recipe.optim),
    )


def heading(recipe: Recipe, reason: str, sources: Sequence[Source], built: Built) -> list[tuple[str, str]]:
    """The first lines of a run."""
    parent = named(recipe.parent or recipe.name)
    changes = [f"  {change}" for change in difference(parent, recipe)]
    doubts = forecast.doubts(recipe, sources, new_tokens=built.report.new_rows)
    return [
        ("recipe", f"{recipe.name} ({reason})"),
        (f"against {parent.name}", "\n".join(changes) if changes else "no difference"),
        ("commit", commit() or "unknown"),
        (
            "data",
            "\n".join(f"  {line}" for line in forecast.draws(recipe, sources, world_size=dist.world().size)),
        ),
        ("weights", " + ".join(built.checkpoint.places)),
        ("trained", str(built.table)),
        ("schedule", "\n".join(filter(None, (effective_batch(recipe), forecast.waiting(recipe))))),
        *(("WARNING", doubt) for doubt in doubts),
    ]


def effective_batch(recipe: Recipe) -> str:
    """batch x accumulation x processes, with a warning where it is far below what the learning rate was chosen for."""
    ours, origin = recipe.schedule, named(recipe.name)
    theirs = origin.schedule
    line, warning = optim.effective_batch(
        batch_size=ours.batch_size,
        accumulation=ours.grad_accumulation_steps,
        world_size=dist.world().size,
        recipe_batch=theirs.batch_size * theirs.grad_accumulation_steps * theirs.world_size,
        lr_is_recipes=recipe.optim.lr >= origin.optim.lr,
    )
    return f"{line}\n  WARNING: {warning}" if warning else line


def contents(
    recipe: Recipe, sources: Sequence[Source], built: Built, *, before: Mapping[str, str]
) -> Mapping[str, Any]:
    """The manifest: what the run is made of. before: what the weights that it begins with have seen (`leak.seen`)."""
    shares = recipe.data.shares()
    data = {
        source.name: {**describe_ids(source.keys()), "family": source.family, "rate": shares[source.family]}
        for source in sources
    }
    return manifest(
        recipe=recipe.name,
        system=recipe.system,
        resolved=to_json(recipe),
        bases=built.checkpoint.bases,
        data=data,
        trainable=[asdict(row) for row in built.table.rows],
        before=dict(before),
    )
