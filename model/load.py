"""A model from disk, ready to be asked: a merged folder, a released LISA, or trained weights with their base."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seglm.model import probe
from seglm.model.build import Built, assemble, base_weights, build
from seglm.model.names import names
from seglm.model.older import recipe_from_json, with_settings
from seglm.model.precision import PRECISIONS, Precision
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.absent import refuse_absent
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.config_keys import chosen as chosen_of
from seglm.model.released.config_keys import section
from seglm.model.released.errors import WeightsError
from seglm.model.released.files import config_of
from seglm.model.released.folder import recipe_of
from seglm.model.released.identify import WITHOUT_BASE, identify, layout_of, manifest_of
from seglm.model.released.trained import Trained, compare_base, load_trained, on_base, read_trained
from seglm.model.trainable import fate
from seglm.utils.dist import World
from seglm.utils.resolve import resolve

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """A recipe for some weights, and why it is this one."""

    recipe: Recipe
    reason: str


def choose_recipe(path: str | Path, *, name: str | None = None, to_train: bool = False) -> Chosen:
    """The recipe of the weights at `path`: the one called `name`, else the one the weights tell of.

    A merged folder or a manifest holds the whole resolved recipe, which is then taken field by field.
    to_train: the weights may also be those of another system, from which `name` sets out (KeySeg begins with a trained LISA), or
    of the recipe that it comes after.
    Raises ValueError if it is not the one called `name`, and Ambiguous, which lists the candidates, if the weights do
    not tell.
    """
    place = Path(path)
    kept = kept_recipe(place)
    if kept is not None:
        if (
            to_train
            and name is not None
            and (named(name).system != kept.system or named(name).after == kept.name)
        ):
            return Chosen(named(name), f"--recipe says so; it starts from weights of {kept.name}")
        if name not in (None, kept.name):
            raise ValueError(f"{place} was made with recipe {kept.name}, not {name}; drop --recipe")
        return Chosen(kept, identify(place).reason)
    if name is not None:
        return Chosen(named(name), "--recipe says so")
    found = identify(place)
    return Chosen(named(found.recipe), found.reason)


def kept_recipe(path: Path) -> Recipe | None:
    """The whole recipe that a merged folder, or the manifest beside trained weights, has kept; None if there is none."""
    if config_of(path).get("model_type") == "seglm":
        return recipe_of(path)
    resolved = section(manifest_of(path), "resolved", source=str(path))
    try:
        return recipe_from_json(resolved) if resolved else None
    except ValueError as error:
        raise WeightsError(f"{path}: the recipe in the manifest beside these weights: {error}") from error


def load(
    path: str,
    *,
    recipe: str | Recipe | None = None,
    precision: Precision | None = None,
    device: str = "cpu",
    vision: str | None = None,
    decoder: str | None = None,
    revision: str | None = None,
    ask_probe: bool = True,
    world: World | None = None,
) -> tuple[Segmenter, Recipe]:
    """A model that is to be used, not trained: a merged SegLM folder or a released LISA, a path or a hub id.

    recipe: name, or itself with every setting; None takes what the weights tell. precision: None takes the recipe's. vision,
    decoder: where CLIP and SAM lie, for releases that do not hold them. ask_probe: ask the golden probe of a merged folder again
    (a second on a GPU).
    world: where the model will run; the recipe is then checked for it before anything is read.
    Raises ValueError for what that machine cannot do, FileNotFoundError, WeightsError (model/released/errors.py), ProbeFailed.
    """
    refuse_absent(path, revision=revision, vision=vision, decoder=decoder)
    folder = resolve(path, what="the model (--version)", revision=revision)
    chosen = Chosen(recipe, "as chosen") if isinstance(recipe, Recipe) else choose_recipe(folder, name=recipe)
    log.info("%s: recipe %s (%s)", path, chosen.recipe.name, chosen.reason)
    used = chosen.recipe if decoder is None else with_settings(chosen.recipe, [("decoder.weights", decoder)])
    refuse_absent(
        str(folder),
        vision=vision,
        vision_else=used.backbone.vision,
        decoder=used.decoder.weights,
        decoder_mark=used.decoder.mark,
    )
    _check(used, precision, world)
    checkpoint = used.decoder.complete(used.backbone.read(str(folder), vision=vision))
    if not checkpoint.has("project."):
        raise WeightsError(
            f"{path}: a base that was never trained to segment; train it (train_ds.py --version {path}) or give a trained model"
        )
    built = assemble(_used(used, checkpoint, precision), checkpoint, lora=False, device=device)
    if ask_probe and checkpoint.manifest:
        saved = chosen_of(config_of(folder), "precision", PRECISIONS, source=str(folder))
        probe.check(built.model, folder, saved=saved or "fp32")
    return built.model, built.model.recipe


def load_base(
    path: str,
    *,
    recipe: str | None = None,
    precision: Precision | None = None,
    device: str = "cpu",
    vision: str | None = None,
    decoder: str | None = None,
    world: World | None = None,
) -> tuple[Segmenter, Recipe]:
    """A base as a training begins with it, to be asked for words: its masks are those of a projection that was never trained.

    Parameters as of `load`. Raises as `load`, and FileNotFoundError if the recipe's mask decoder is not there.
    """
    chosen = choose_recipe(resolve(path, what="the model (--version)"), name=recipe).recipe
    chosen = _on_base(chosen, path, vision=vision, decoder=decoder)
    _check(chosen, precision, world)
    checkpoint = base_weights(chosen)
    model = assemble(_used(chosen, checkpoint, precision), checkpoint, lora=False, device=device).model
    return model, model.recipe


def start(recipe: Recipe, init_from: str | None = None) -> Built:
    """The model a training starts from: the recipe's base, the base with trained weights on it, or a whole trained model.

    init_from: path or hub id of a merged folder, a released model or trained weights without their base. A whole model has
    its adapters merged already, so it gets new ones; its projection and mask decoder stay what they are.
    """
    if init_from is None:
        return build(recipe)
    path = resolve(init_from, what="the weights to start from (--init_from)")
    if layout_of(path) in WITHOUT_BASE:
        before = kept_recipe(path) if recipe.after else None
        before = before if before is not None and before.name == recipe.after else None
        return load_with_trained(base_weights(recipe), str(path), recipe, before=before)
    return build(on_whole(recipe, init_from))


def on_whole(recipe: Recipe, init_from: str | None) -> Recipe:
    """The recipe with a whole model, where a training begins with one, as its base.

    What is trained then belongs to that model: the base of before would be another one under its adapters.
    """
    if init_from is None:
        return recipe
    path = resolve(init_from, what="the weights to start from (--init_from)")
    if layout_of(path) in WITHOUT_BASE:
        return recipe
    return replace(recipe, backbone=recipe.backbone.on(init_from))


def load_with_trained(
    base: Checkpoint,
    trained: Trained | str,
    recipe: Recipe,
    *,
    device: str = "cpu",
    before: Recipe | None = None,
) -> Built:
    """A base with trained weights on it, adapters not merged.

    recipe: its `trainable` names what was trained; every such weight has to be among `trained`. before: the recipe that trained
    them, where this one comes after it; then every weight that that one trains has to be there.
    Raises WrongNames, WrongRank, WrongShapes, and WeightsError for a base that holds these weights already.
    """
    trained = (
        read_trained(resolve(trained, what="the trained weights (--weight)"))
        if isinstance(trained, str)
        else trained
    )
    compare_base(base, trained)
    trained = on_base(trained, base, recipe.trainable.lora)
    built = assemble(recipe, base, lora=True, device=device)
    required = built.table.trained
    if before is not None:
        of_before = [name for name in names(built.model) if ".lora_" not in name or trained.lora_rank]
        required = tuple(name for name in of_before if fate(name, before.trainable)[1] != "frozen")
    report = load_trained(built.model, trained, required=required)
    return replace(built, report=report)


def load_unmerged(
    base: str,
    *,
    weight: str,
    recipe: str | None = None,
    precision: Precision | None = None,
    device: str = "cpu",
    vision: str | None = None,
    decoder: str | None = None,
    world: World | None = None,
) -> tuple[Segmenter, Recipe]:
    """A model that is to be used, from trained weights that were never merged and the base they were trained on.

    The rank of the adapters is the one that the weights have. Raises as `load_with_trained`.
    """
    trained = read_trained(resolve(weight, what="the trained weights (--weight)"))
    chosen = choose_recipe(Path(trained.source), name=recipe).recipe
    lora = replace(chosen.trainable.lora, r=trained.lora_rank, dropout=0.0)
    chosen = replace(chosen, trainable=replace(chosen.trainable, lora=lora))
    chosen = _on_base(chosen, base, vision=vision, decoder=decoder)
    _check(chosen, precision, world)
    checkpoint = base_weights(chosen)
    used = _used(chosen, checkpoint, precision)
    return load_with_trained(checkpoint, trained, used, device=device).model, used


def _on_base(recipe: Recipe, base: str, *, vision: str | None, decoder: str | None) -> Recipe:
    """The recipe with its base from there, and CLIP and SAM from elsewhere where that is said."""
    return replace(
        recipe,
        backbone=replace(recipe.backbone.on(base), vision=vision or recipe.backbone.vision),
        decoder=replace(recipe.decoder, weights=decoder or recipe.decoder.weights),
    )


def _check(recipe: Recipe, precision: Precision | None, world: World | None) -> None:
    if world is not None:
        wanted = precision or recipe.engine.precision
        replace(recipe, engine=replace(recipe.engine, precision=wanted)).check(world, to_train=False)


def _used(recipe: Recipe, checkpoint: Checkpoint, precision: Precision | None) -> Recipe:
    """The recipe for use: no gradient checkpointing, the SAM's own image size."""
    size = (checkpoint.decoder or {}).get("image_size", recipe.decoder.image_size)
    return replace(
        recipe,
        engine=replace(
            recipe.engine, precision=precision or recipe.engine.precision, gradient_checkpointing=False
        ),
        decoder=replace(recipe.decoder, image_size=size),
    )
