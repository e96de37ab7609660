"""Base + trained weights -> one folder that loads everywhere and has proved itself.

    python merge_lora_weights_and_save_hf_model.py --version <base> --weight runs/<exp>/pytorch_model.bin --save_path <folder>

`--weight` is a portable checkpoint (a folder with manifest.json) or whatever zero_to_fp32.py made of a run: a file,
shards, a folder called pytorch_model.bin, trained weights alone or all. The flags are those of the field's own script;
any of train_ds.py's flags that concerns the model is taken too.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seglm.model.build import Built, base_weights
from seglm.model.load import Chosen, choose_recipe, load_with_trained
from seglm.model.older import with_settings
from seglm.model.recipe import Recipe
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.errors import Ambiguous, WeightsError
from seglm.model.released.files import config_of
from seglm.model.released.trained import Trained, read_trained
from seglm.utils.cli import Options, read
from seglm.utils.command import command
from seglm.utils.config import to_json
from seglm.utils.flags import Parser
from seglm.utils.folders import check_new
from seglm.utils.manifest import manifest
from seglm.utils.ranges import Place, typed
from seglm.utils.resolve import resolve

MODEL_FIELDS = ("backbone.", "decoder.", "trainable.", "engine.precision", "engine.attention")


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, merges, verifies, writes; ends with one line on how to use the folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    own, options = parse(sys.argv[1:] if arguments is None else arguments)
    from seglm.model.merge import export

    check_new(Path(own.save_path), "--save_path")
    weight = resolve(own.weight, what="the trained weights (--weight)")
    if config_of(weight).get("model_type") == "seglm":
        raise WeightsError(
            f"--weight {own.weight} is merged already: python chat.py --version {shlex.quote(own.weight)}"
        )
    trained = read_trained(weight)
    chosen = choose(own.weight, options)
    print(f"recipe {chosen.recipe.name}: {chosen.reason}")
    recipe = with_settings(chosen.recipe, options.settings)
    check_rank(recipe, trained)
    on = replace(
        chosen.recipe, backbone=chosen.recipe.backbone.on(options.version or recipe.backbone.weights)
    )
    backbone = with_settings(on, options.settings).backbone
    base = base_weights(replace(recipe, backbone=backbone))
    built = load_with_trained(base, trained, recipe)
    print(f"{trained.source} on {' + '.join(base.places)}:\n{built.report}")
    content = described(recipe, base, trained, built)
    vision = None if base.place("vision.") == base.source else backbone.vision
    apart = export(built, own.save_path, manifest=content, kind=own.format, vision=vision)
    print(
        "verified against the un-merged model: "
        + ", ".join(f"{key} {value:.2g}" for key, value in apart.items())
    )
    print(f'{own.save_path} is ready: python chat.py --version "{own.save_path}"')


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, Options]:
    """This script's own flags, and those it shares with train_ds.py. Raises ValueError for a flag that has no effect here."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weight", required=True, help="trained weights: a portable checkpoint or zero_to_fp32's output"
    )
    parser.add_argument(
        "--save_path", required=True, type=typed(Place), help="new folder for the merged model"
    )
    parser.add_argument(
        "--format",
        choices=("seglm", "lisa", "sa2va"),
        default="seglm",
        help="lisa, sa2va: the layout of that release",
    )
    own, rest = parser.parse_known_args(arguments)
    options = read(rest)
    plain = replace(Options(), recipe=options.recipe, version=options.version, settings=options.settings)
    if options != plain:
        odd = [name for name in vars(options) if getattr(options, name) != getattr(plain, name)]
        raise ValueError(f"--{' --'.join(odd)}: no effect on a merge; drop it")
    if idle := [path for path, _ in options.settings if not path.startswith(MODEL_FIELDS)]:
        raise ValueError(
            f"{', '.join(idle)}: no effect on a merge; fields that have one start with {', '.join(MODEL_FIELDS)}"
        )
    return own, options


def choose(weight: str, options: Options) -> Chosen:
    """The recipe of the trained weights; where they do not tell, that of the base."""
    if options.recipe:
        return choose_recipe(weight, name=options.recipe)
    try:
        return choose_recipe(resolve(weight, what="the trained weights (--weight)"))
    except Ambiguous:
        if options.version is None:
            raise
        return choose_recipe(resolve(options.version, what="the base (--version)"))


def described(recipe: Recipe, base: Checkpoint, trained: Trained, built: Built) -> dict[str, Any]:
    """The manifest: that of the training, where there is one, with what this merge has read."""
    before = {
        key: value for key, value in trained.manifest.items() if key != "weights"
    }  # proves another file
    now = manifest(
        recipe=recipe.name,
        system=recipe.system,
        resolved=to_json(recipe),
        bases=base.bases | {"trained": trained.source},
        data=before.get("data"),
        trainable=[to_json(row) for row in built.table.rows],
    )
    return {**before, **now}


def check_rank(recipe: Recipe, trained: Trained) -> None:
    """Raises WeightsError if the adapters have another rank than the recipe."""
    # Below 0 the LLM was trained in full, without adapters.
    if trained.lora_rank != max(0, recipe.trainable.lora.r):
        raise WeightsError(
            f"{trained.source}: adapters of rank {trained.lora_rank}, the recipe has rank {recipe.trainable.lora.r}; "
            f"give --lora_r {trained.lora_rank} with the --lora_alpha of the training"
        )


if __name__ == "__main__":
    main()
