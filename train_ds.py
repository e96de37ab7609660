"""Train, or with --eval_only score, any recipe: `bash run_train.sh --recipe lisa_7b ...` starts this under the launcher.

Every flag is listed by --help, every recipe by --list; any field of a recipe is set by its path (`optim.lr=1e-4`).
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from signal import Signals

from seglm.dataset.pipeline import Source
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import evaluate
from seglm.evaluation.asking.leak import refuse_leak
from seglm.model.build import Built, refuse_absent_base
from seglm.model.load import kept_recipe, load, on_whole, start
from seglm.model.names import canonical
from seglm.model.quantize import quantize
from seglm.model.recipe import Recipe
from seglm.model.recipes import listing
from seglm.model.recipes import recipe as named
from seglm.model.released.identify import WITHOUT_BASE, layout_of, manifest_of
from seglm.model.trainable import fate
from seglm.training import forecast, saves
from seglm.training.choose import choose, configured, run_of, weights_to_score
from seglm.training.engine import Engine
from seglm.training.from_recipe import (
    check_batch,
    check_names_of_data,
    contents,
    feed,
    heading,
    settings,
    training_sources,
)
from seglm.training.plan import Hooks, Plan, SaveEvery
from seglm.training.run_folder import RunFolder, forget, kept, open_run, refuse, refuse_full_disk, release
from seglm.training.trainer import Trainer
from seglm.training.validation import look_at, look_at_validation, origin_of, seen_before, validate
from seglm.utils import cli, dist
from seglm.utils import log as logs
from seglm.utils.command import BY_SIGNAL, command
from seglm.utils.config import difference
from seglm.utils.resolve import resolve

log = logging.getLogger("seglm.train_ds")
OF_THE_MODEL = ("backbone.", "decoder.", "project", "fusion", "read_at", "script", "prompt")
"""settings by which a merged model answers otherwise than when it was made"""


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


# ---- training -------------------------------------------------------------------------------------------------------
def train(recipe: Recipe, reason: str, options: cli.Options) -> None:
    """From the data on disk to a folder with trained weights."""
    recipe.check(dist.world())
    check_names_of_data(recipe)
    if not options.no_eval:
        recipe.check_draws()
        benchmark(recipe.evaluate.dataset).check_truth()
    # Whoever merges or scores what is trained finds its base there.
    recipe = on_whole(recipe, options.init_from)
    refuse_absent_base(recipe)
    going_on, run = options.resume is not None, run_of(options, recipe.name)
    refuse(run, resume=going_on, overwrite=options.overwrite)
    logs.start()
    sources = training_sources(recipe)
    check_batch(recipe, sources)
    before = seen_before(recipe, sources, options)
    leak = "" if options.no_eval else look_at_validation(recipe, sources, before, allow=options.allow_leak)
    built = start(recipe, options.init_from)
    refuse_full_disk(run, trained=built.table.trained_parameters, keep=options.keep)
    open_run(run.folder, resume=going_on, overwrite=options.overwrite)
    logs.write_to(run.log)
    logs.first_lines(heading(recipe, reason, sources, built))
    if options.version not in (None, recipe.backbone.weights):
        log.warning(
            "nothing is read from --version %s: --init_from %s is a whole model",
            options.version,
            options.init_from,
        )
    if going_on and (earlier := kept_recipe(run.folder)):
        for change in difference(earlier, recipe):
            log.warning("another setting than before the stop: %s", change)
        if earlier.evaluate.dataset != recipe.evaluate.dataset:
            log.warning(
                "the best state is chosen among the scores of both benchmarks if they are of one kind, else among the new ones; "
                "to leave out the old ones in any case begin another run with --init_from %s",
                run.portable,
            )
    content = contents(recipe, sources, built, before=before)
    schedule = recipe.schedule
    plan = Plan(
        schedule.epochs,
        schedule.steps_per_epoch,
        recipe.engine.seed,
        print_freq=options.print_freq,
        save_every=SaveEvery.of(options.save_every),
        keep=options.keep,
        best_by="jf" if benchmark(recipe.evaluate.dataset).is_of_videos else "giou",
        tripwire_behind=forecast.without_masks(recipe, sources),
    )
    hooks = Hooks(
        validate=None
        if options.no_eval
        else partial(validate, out_dir=run.evaluation("validation"), leak=leak),
        portable=lambda weights: {canonical(name): tensor for name, tensor in weights.items()},
        group_of=lambda name: fate(canonical(name), recipe.trainable)[0],
        manifest=lambda: content,
    )
    stopped = run_to_the_end(recipe, sources, built, run, plan, hooks, go_on=going_on)
    if stopped is not None:
        log.info("stopped by %s; %s", stopped.name, kept(run))
        sys.exit(BY_SIGNAL + stopped)
    place = shlex.quote(str(run.folder))
    log.info(
        "next: python merge_lora_weights_and_save_hf_model.py --weight %s/portable --save_path %s/merged",
        place,
        place,
    )


def run_to_the_end(
    recipe: Recipe,
    sources: Sequence[Source],
    built: Built,
    run: RunFolder,
    plan: Plan,
    hooks: Hooks,
    *,
    go_on: bool,
) -> Signals | None:
    """None if the plan is done; see `Trainer.train`. What fails before its first step leaves no run behind."""
    engine: Engine | None = None
    try:
        engine = Engine(built.model, settings(recipe, plan))
        batches = feed(recipe, sources, built.model, saves.newest(run.folder) if go_on else None)
        return Trainer(engine, batches, run, plan, hooks).train(go_on=go_on)
    except BaseException as error:
        if not go_on and (engine is None or engine.steps == 0):
            forget(run)
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(kept(run)) from None
        raise
    finally:
        if engine is not None:
            engine.close()
        release(run)


# ---- scoring --------------------------------------------------------------------------------------------------------
def score(recipe: Recipe, options: cli.Options) -> None:
    """--eval_only: the weights' scores, beside the checkpoints of the run of that name, never over them."""
    logs.start()
    recipe = on_whole(recipe, options.init_from)
    run = run_of(options, recipe.name)
    out_dir = run.evaluation(recipe.evaluate.dataset)
    if dist.from_main(out_dir.exists()) and not options.overwrite:
        raise ValueError(
            f"{out_dir} holds an earlier evaluation; replace it (--overwrite) or choose another --exp_name"
        )
    recipe.check(dist.world(), to_train=False)
    selection = look_at(recipe)
    given = weights_to_score(recipe, options)
    base = recipe.backbone
    weights = resolve(given, revision=base.revision if given == base.weights else None)
    is_whole = layout_of(weights) not in WITHOUT_BASE
    leak = refuse_leak(
        recipe.evaluate.dataset, version=given, manifest=manifest_of(weights), allow=options.allow_leak
    )
    if is_whole:
        if others := [path for path, _ in options.settings if path.startswith(OF_THE_MODEL)]:
            log.warning("not as it was made: %s; so the model is not asked its probe", ", ".join(others))
        model, _ = load(
            str(weights),
            recipe=recipe,
            precision=recipe.engine.precision,
            vision=recipe.backbone.vision,
            decoder=recipe.decoder.weights,
            ask_probe=not others,
        )
    else:
        model = start(recipe, str(weights)).model
    model.recipe = recipe
    if recipe.engine.load_in != "full":
        log.info("%s", quantize(model, recipe.engine.load_in))
    origin = origin_of(given, weights, recipe, selection, leak, is_whole=is_whole)
    scores = evaluate(model.to(dist.world().device), out_dir=out_dir, origin=origin)
    log.info("%s\n\nfiles: %s", scores, out_dir)


if __name__ == "__main__":
    main()
