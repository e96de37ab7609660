"""Train, or with --eval_only score, any recipe: `bash run_train.sh --recipe lisa_7b ...` starts this under the launcher.

Every flag is listed by --help, every recipe by --list; any field of a recipe is set by its path (`optim.lr=1e-4`).
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from torch import nn

from seglm.evaluation.asking.evaluate import evaluate
from seglm.evaluation.asking.leak import refuse_leak
from seglm.model.attention import refuse_untrainable
from seglm.model.load import Chosen, choose_recipe, kept_recipe, load, start
from seglm.model.names import canonical
from seglm.model.older import with_settings
from seglm.model.quantize import quantize
from seglm.model.recipe import Recipe
from seglm.model.recipes import listing
from seglm.model.recipes import recipe as named
from seglm.model.released.identify import WITHOUT_BASE, layout_of, manifest_of
from seglm.model.segmenter import Segmenter
from seglm.model.trainable import fate
from seglm.training.engine import Engine
from seglm.training.from_recipe import contents, feed, found_data, heading, settings, training_sources
from seglm.training.run_folder import RunFolder, open_run
from seglm.training.trainer import Hooks, Plan, Trainer
from seglm.utils import cli, dist
from seglm.utils import log as logs
from seglm.utils.command import command
from seglm.utils.config import difference
from seglm.utils.manifest import write_manifest
from seglm.utils.portable import is_portable
from seglm.utils.resolve import resolve

log = logging.getLogger("seglm.train_ds")


@command
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
    finally:
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
        to_train = not options.eval_only and options.resume is None
        chosen = choose_recipe(resolve(weights), name=options.recipe, to_train=to_train)
    elif options.recipe is not None:
        chosen = Chosen(named(options.recipe), "--recipe says so")
    else:
        raise ValueError(
            "which recipe? give --recipe NAME (--list prints them), or as --version weights to start from"
        )
    return replace(chosen, recipe=configured(chosen.recipe, options))


def run_of(options: cli.Options, found: str | None = None) -> RunFolder:
    """The run's folder: what --resume names, else --exp_name, else the recipe's name, which the weights may tell (`found`)."""
    name = options.exp_name or options.recipe or found
    if options.resume:
        return RunFolder(Path(options.resume))
    if name is None:
        raise ValueError("--resume: which run? give its folder (--resume runs/NAME) or its --exp_name")
    return RunFolder(Path(options.log_base_dir, name))


def configured(recipe: Recipe, options: cli.Options) -> Recipe:
    """The recipe with every setting of the command."""
    if options.version is not None:
        recipe = replace(recipe, backbone=replace(recipe.backbone, weights=options.version))
    return with_settings(replace(recipe, data=found_data(recipe.data)), options.settings)


# ---- training -------------------------------------------------------------------------------------------------------
def train(recipe: Recipe, reason: str, options: cli.Options) -> None:
    """From the data on disk to a folder with trained weights."""
    if recipe.engine.load_in != "full":
        raise ValueError(
            "--load_in_8bit and --load_in_4bit are for chat.py and --eval_only; training with less memory: --zero 3, "
            "engine.gradient_checkpointing=true, a smaller --batch_size with more --grad_accumulation_steps"
        )
    refuse_untrainable(recipe.engine, dist.world().device)
    going_on = options.resume is not None
    run = open_run(run_of(options, recipe.name).folder, resume=going_on, overwrite=options.overwrite)
    logs.start(run.log)
    sources = training_sources(recipe)
    built = start(recipe, options.init_from)
    logs.first_lines(heading(recipe, reason, sources, built))
    if going_on and (before := kept_recipe(run.folder)):
        for change in difference(before, recipe):
            log.warning("another setting than before the stop: %s", change)
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


# ---- scoring --------------------------------------------------------------------------------------------------------
def validate(module: nn.Module, *, out_dir: Path) -> dict[str, float]:
    """What the curve shows and the best state is chosen by."""
    scores = evaluate(cast(Segmenter, module), out_dir=out_dir).all
    found = {"giou": scores.giou, "ciou": scores.ciou}
    if scores.n_acc is not None and scores.t_acc is not None:
        found |= {"n_acc": scores.n_acc, "t_acc": scores.t_acc}
    return found if scores.emission is None else {**found, "seg_rate": scores.emission}


def score(recipe: Recipe, options: cli.Options) -> None:
    """--eval_only: the weights' scores, beside the checkpoints of the run of that name, never over them."""
    logs.start()
    run = run_of(options, recipe.name)
    out_dir = run.evaluation(recipe.evaluate.dataset)
    if dist.from_main(out_dir.exists()) and not options.overwrite:
        raise ValueError(
            f"{out_dir} holds an earlier evaluation; replace it (--overwrite) or choose another --exp_name"
        )
    weights = resolve(weights_to_score(recipe, options, run))
    about = manifest_of(weights)
    refuse_leak(recipe.evaluate.dataset, version=str(weights), manifest=about, allow=options.allow_leak)
    if layout_of(weights) in WITHOUT_BASE:
        model = start(recipe, str(weights)).model
    else:
        model, _ = load(
            str(weights),
            recipe=recipe.name,
            precision=recipe.engine.precision,
            vision=recipe.backbone.vision,
            decoder=recipe.decoder.weights,
        )
    model.recipe = recipe
    if recipe.engine.load_in != "full":
        log.info("%s", quantize(model, recipe.engine.load_in))
    scores = evaluate(model.to(dist.world().device), out_dir=out_dir)
    log.info("%s\n\nfiles: %s", scores, out_dir)


def weights_to_score(recipe: Recipe, options: cli.Options, run: RunFolder) -> str:
    """--init_from or --version; for the command of a training with --eval_only behind it, the best state of its run."""
    given = options.init_from or recipe.backbone.weights
    if layout_of(resolve(given)) == "llava" and is_portable(run.portable):
        log.info("%s is a base; what is scored is the best state of %s", given, run.folder)
        return str(run.portable)
    return given


if __name__ == "__main__":
    main()
