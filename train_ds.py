"""Train, or with --eval_only score, any recipe: `bash run_train.sh --recipe lisa_7b ...` starts this under the launcher.

Every flag is listed by --help, every recipe by --list; any field of a recipe is set by its path (`optim.lr=1e-4`).
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn

from seglm.dataset.collate import collate
from seglm.dataset.faults import Fault
from seglm.dataset.pipeline import Source
from seglm.dataset.sources import open_sources
from seglm.evaluation.leak import leak
from seglm.evaluation.preflight import training_set
from seglm.evaluation.run import evaluate
from seglm.model.build import Built
from seglm.model.load import Chosen, choose_recipe, load, start
from seglm.model.names import canonical
from seglm.model.recipe import Recipe
from seglm.model.recipes import listing
from seglm.model.recipes import recipe as named
from seglm.model.released.identify import WITHOUT_BASE, layout_of, manifest_of
from seglm.model.segmenter import Segmenter
from seglm.model.trainable import fate
from seglm.utils import cli, dist, optim
from seglm.utils import log as logs
from seglm.utils.config import difference, override, to_json
from seglm.utils.engine import Engine, Settings
from seglm.utils.loader import Feed
from seglm.utils.manifest import commit, describe_ids, manifest, write_manifest
from seglm.utils.resolve import resolve
from seglm.utils.run import Run, open_run
from seglm.utils.trainer import Hooks, Plan, Trainer

log = logging.getLogger("seglm.train_ds")


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        options = cli.read(sys.argv[1:] if arguments is None else arguments)
        if options.help or options.list:
            shown = configured(named(options.recipe), options) if options.recipe else None
            print(cli.help_text() if options.help else listing(shown))
            return
        dist.start()
        chosen = choose(options)
        if options.eval_only:
            score(chosen.recipe, options)
        else:
            train(chosen.recipe, chosen.reason, options)
    except (ValueError, OSError, Fault) as error:
        if os.environ.get("SEGLM_TRACEBACK"):
            raise
        sys.exit(f"error: {error}")
    finally:
        logs.close()
        dist.stop()


# ---- which recipe ---------------------------------------------------------------------------------------------------
def choose(options: cli.Options) -> Chosen:
    """The recipe that the command names, else the one its weights tell of, with every setting of the command."""
    weights = (
        options.init_from
        or options.version
        or (run_of(options).folder if options.resume is not None else None)
    )
    if weights is not None:
        chosen = choose_recipe(resolve(weights), name=options.recipe)
    elif options.recipe is not None:
        chosen = Chosen(named(options.recipe), "--recipe says so")
    else:
        raise ValueError(
            "which recipe? give --recipe NAME (--list prints them), or as --version weights to start from"
        )
    return replace(chosen, recipe=configured(chosen.recipe, options))


def run_of(options: cli.Options, found: str | None = None) -> Run:
    """The run's folder: what --resume names, else --exp_name, else the recipe's name, which the weights may tell (`found`)."""
    name = options.exp_name or options.recipe or found
    if options.resume:
        return Run(Path(options.resume))
    if name is None:
        raise ValueError("--resume: which run? give its folder (--resume runs/NAME) or its --exp_name")
    return Run(Path(options.log_base_dir, name))


def configured(recipe: Recipe, options: cli.Options) -> Recipe:
    """The recipe with every setting of the command."""
    if options.version is not None:
        recipe = replace(recipe, backbone=replace(recipe.backbone, weights=options.version))
    return override(recipe, options.settings)


# ---- training -------------------------------------------------------------------------------------------------------
def train(recipe: Recipe, reason: str, options: cli.Options) -> None:
    """From the data on disk to a folder with trained weights."""
    going_on = options.resume is not None
    run = open_run(run_of(options, recipe.name).folder, resume=going_on, overwrite=options.overwrite)
    logs.start(run.log)
    sources = training_sources(recipe)
    built = start(recipe, options.init_from)
    logs.first_lines(heading(recipe, reason, sources, built))
    content = contents(recipe, sources, built)
    if dist.world().is_main:
        write_manifest(run.manifest, content)
    schedule = recipe.schedule
    plan = Plan(schedule.epochs, schedule.steps_per_epoch, recipe.engine.seed, options.print_freq)
    engine = Engine(built.model, settings(recipe, plan))
    hooks = Hooks(
        validate=None if options.no_eval else partial(validate, out_dir=run.evaluation("validation")),
        portable=lambda weights: {canonical(name): tensor for name, tensor in weights.items()},
        group_of=lambda name: fate(canonical(name), recipe.trainable)[0],
        manifest=lambda: content,
    )
    try:
        finished = Trainer(engine, feed(recipe, sources, built.model), run, plan, hooks).train(go_on=going_on)
    finally:
        engine.close()
    place = shlex.quote(str(run.folder))
    after = (
        f"python merge_lora_weights_and_save_hf_model.py --weight {place}/portable --save_path {place}/merged"
    )
    log.info("next: %s", after if finished else f"the same command with --resume {place}")


def training_sources(recipe: Recipe) -> tuple[Source, ...]:
    """The data sets of the recipe's mixture."""
    data = recipe.data
    return open_sources(Path(data.dataset_dir), data.families(), exclude_val=data.exclude_val)


def feed(recipe: Recipe, sources: Sequence[Source], model: Segmenter) -> Feed[Any]:
    """The batches of this process."""
    schedule, world = recipe.schedule, dist.world()
    return Feed(
        training_set(recipe, sources, model),
        partial(collate, share_prefix=recipe.engine.share_prefix),
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


# ---- scoring --------------------------------------------------------------------------------------------------------
def validate(module: nn.Module, *, out_dir: Path) -> dict[str, float]:
    """What the curve shows and the best state is chosen by."""
    scores = evaluate(cast(Segmenter, module), out_dir=out_dir).all
    found = {"giou": scores.giou, "ciou": scores.ciou}
    return found if scores.emission is None else {**found, "seg_rate": scores.emission}


def score(recipe: Recipe, options: cli.Options) -> None:
    """--eval_only: the weights' scores, beside the checkpoints of the run of that name, never over them."""
    logs.start()
    out_dir = run_of(options, recipe.name).evaluation(recipe.evaluate.dataset)
    if out_dir.exists() and not options.overwrite:
        raise ValueError(
            f"{out_dir} holds an earlier evaluation; replace it (--overwrite) or choose another --exp_name"
        )
    weights = options.init_from or options.version or recipe.backbone.weights
    if reason := leak(recipe.evaluate.dataset, version=weights, manifest=manifest_of(resolve(weights))):
        log.warning("LEAK: %s", reason)
    device = str(dist.world().device)
    if layout_of(resolve(weights)) in WITHOUT_BASE:
        model = start(recipe, weights).model.to(device)
    else:
        parts = {"vision": recipe.backbone.vision, "decoder": recipe.decoder.weights}
        model, _ = load(
            weights, recipe=recipe.name, precision=recipe.engine.precision, device=device, **parts
        )
    model.recipe = recipe
    scores = evaluate(model, out_dir=out_dir)
    log.info("%s\n\nfiles: %s", scores, out_dir)


# ---- what a run says about itself -----------------------------------------------------------------------------------
def heading(recipe: Recipe, reason: str, sources: Sequence[Source], built: Built) -> list[tuple[str, str]]:
    """The first lines of a run."""
    parent = named(recipe.parent or recipe.name)
    changes = [f"  {change}" for change in difference(parent, recipe)]
    return [
        ("recipe", f"{recipe.name} ({reason})"),
        (f"against {parent.name}", "\n".join(changes) if changes else "no difference"),
        ("commit", commit() or "unknown"),
        ("data", "\n".join(f"  {source.name}: {len(source):,} samples" for source in sources)),
        ("weights", built.checkpoint.source),
        ("trained", str(built.table)),
        ("schedule", effective_batch(recipe)),
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


def contents(recipe: Recipe, sources: Sequence[Source], built: Built) -> Mapping[str, Any]:
    """The manifest: what the run is made of."""
    parts = built.checkpoint.source.split(" + ")
    shares = recipe.data.shares()
    data = {
        source.name: {**describe_ids(source.keys()), "family": source.family, "rate": shares[source.family]}
        for source in sources
    }
    return manifest(
        recipe=recipe.name,
        system=recipe.system,
        resolved=to_json(recipe),
        bases={layout_of(part): part for part in parts},
        data=data,
        trainable=[asdict(row) for row in built.table.rows],
    )


if __name__ == "__main__":
    main()
