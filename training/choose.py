"""What a command means: its recipe with every setting, the folder of its run, the weights that it scores."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from seglm.model.build import refuse_absent_base
from seglm.model.load import Chosen, choose_recipe, kept_recipe
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.identify import BASES, layout_of
from seglm.training.from_recipe import as_told
from seglm.training.run_folder import RunFolder, refuse
from seglm.utils import cli
from seglm.utils.portable import is_portable
from seglm.utils.resolve import resolve

log = logging.getLogger(__name__)


def choose(options: cli.Options) -> Chosen:
    """The recipe that the command names, else the one its weights tell of, with every setting of the command."""
    weights = options.init_from or options.version
    to_train = not options.eval_only
    if options.resume is not None:
        run = run_of(options)
        refuse(run, resume=True, overwrite=options.overwrite)
        # A run's own weights are those of its recipe; those that it began with may be another's.
        to_train = to_train and weights is not None
        weights = weights or str(run.folder)
    if options.eval_only and (best := best_of_run(options)):
        weights = str(best)
    if weights is not None:
        try:
            place = _place(weights, options)
        except FileNotFoundError:
            if options.recipe is not None and weights == options.version:
                # What else is missing is said with it.
                refuse_absent_base(configured(named(options.recipe), options))
            raise
        chosen = choose_recipe(place, name=options.recipe, to_train=to_train)
    elif options.recipe is not None:
        chosen = Chosen(named(options.recipe), "--recipe says so")
    else:
        raise ValueError(
            "which recipe? give --recipe NAME (--list prints them), or as --version weights to start from"
        )
    return replace(chosen, recipe=configured(chosen.recipe, options))


def best_of_run(options: cli.Options, found: str | None = None) -> Path | None:
    """The best state of the run of that name (`found`: as for `run_of`), which knows how it was trained; None without one.

    None also where other weights are given than the run began with: neither a base nor what its manifest names.
    """
    if not (options.exp_name or options.recipe or found):
        return None
    best, given = run_of(options, found).portable, options.init_from or options.version
    if not is_portable(best):
        return None
    begun = kept_recipe(best)
    if given is None or (begun is not None and given == begun.backbone.weights):
        return best
    is_base = options.init_from is None and layout_of(_place(given, options)) in BASES
    return best if is_base else None


def _place(weights: str, options: cli.Options) -> Path:
    """Where weights of the command lie. Raises FileNotFoundError."""
    revision = dict(options.settings).get("backbone.revision") if weights == options.version else None
    return resolve(weights, revision=revision)


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
        recipe = replace(recipe, backbone=recipe.backbone.on(options.version))
    return as_told(recipe, options.settings)


def weights_to_score(recipe: Recipe, options: cli.Options) -> str:
    """The best state of the run of that name, for the command of its training with --eval_only behind it; else what is given."""
    if best := best_of_run(options, recipe.name):
        log.info("what is scored is the best state of the run, %s", best)
        return str(best)
    return options.init_from or recipe.backbone.weights
