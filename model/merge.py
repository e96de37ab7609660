"""From a base with adapters to one folder: merge, write, read back, compare, and only then let the folder appear.

A folder that does not answer the probe as the un-merged model did is never left behind.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from seglm.model import probe
from seglm.model.build import Built, assemble
from seglm.model.names import names
from seglm.model.recipe import Recipe
from seglm.model.released.errors import WeightsError
from seglm.model.released.folder import recipe_of, write_folder
from seglm.model.released.lisa_export import write_lisa
from seglm.model.released.sa2va import write_sa2va
from seglm.model.segmenter import Segmenter
from seglm.model.settings import Lora
from seglm.utils import lock
from seglm.utils.atomic import full_disk

log = logging.getLogger(__name__)

Format = Literal["seglm", "lisa", "sa2va"]


@torch.no_grad()
def merged(model: Segmenter, lora: Lora) -> dict[str, Tensor]:
    """Canonical tensors of `model` with every adapter added to its layer: W + alpha / r * B A, computed in float32.

    Returns tensors on the CPU in the dtype of W; those without adapters are the model's own, not copies.
    """
    state = model.state_dict()
    tensors = {ours: state[inside].detach().cpu() for ours, inside in names(model).items()}
    scale = lora.alpha / lora.r if lora.r else 0.0
    for name in [name for name in tensors if name.endswith(".lora_A.weight")]:
        down, up = tensors.pop(name), tensors.pop(name.replace(".lora_A.", ".lora_B."))
        layer = name.replace(".lora_A.weight", ".weight")
        weight = tensors[layer]
        tensors[layer] = (weight.float() + scale * (up.float() @ down.float())).to(weight.dtype)
    return tensors


def export(
    built: Built,
    target: str | Path,
    *,
    manifest: Mapping[str, Any],
    kind: Format = "seglm",
    vision: str | None = None,
) -> dict[str, float]:
    """Writes the merged model to the new folder `target` and returns how far its answers to the probe are from the
    un-merged model's.

    built: a base with its trained weights (`load_with_trained`); its model is emptied of its weights on the way, so
    that a large model is in memory once.
    kind: our folder, or the layout of the original LISA or Sa2VA. vision: where the reloaded LISA folder finds CLIP; None: the
    base holds one, and so will the folder.
    Raises WeightsError if the target exists or another process merges into it, ProbeFailed if what was written does not
    answer alike; nothing is left behind then.
    """
    target = Path(target)
    _check_new(target)
    recipe = built.model.recipe
    before = probe.read(built.model)
    tensors = merged(built.model, recipe.trainable.lora)
    built.model.to_empty(device="meta")
    target.parent.mkdir(parents=True, exist_ok=True)
    halfway, mine = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.lock")
    if who := lock.take(mine):
        raise WeightsError(
            f"{target}: {who} merges into this folder; wait for its end or give another --save_path"
        )
    try:
        _check_new(target, " (another process has written it meanwhile)")
        shutil.rmtree(halfway, ignore_errors=True)  # of a merge that was killed
        if kind == "seglm":
            _write_seglm(halfway, tensors, built, manifest)
        else:
            _write_released(halfway, tensors, built, kind=kind, own_tower=vision is None)
        del tensors
        apart = _verified(halfway, before, recipe, kind, vision)
        if target.is_dir():
            target.rmdir()
        halfway.rename(target)
    except Exception as error:
        if why := full_disk(error):
            raise RuntimeError(
                f"{target}: the disk is full ({why}); nothing is left there. Make room, or give another --save_path"
            ) from error
        raise
    finally:
        shutil.rmtree(halfway, ignore_errors=True)
        lock.free(mine)
    return apart


def _check_new(target: Path, why: str = "") -> None:
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        raise WeightsError(
            f"{target}: exists already{why}; give a new folder as --save_path, or remove this one"
        )


def _write_seglm(
    folder: Path, tensors: Mapping[str, Tensor], built: Built, manifest: Mapping[str, Any]
) -> None:
    model = built.model
    write_folder(
        folder,
        tensors,
        recipe=model.recipe,
        sizes=built.sizes,
        tokenizer=model.encoder.tokenizer,
        manifest=manifest,
    )


def _write_released(
    folder: Path, tensors: Mapping[str, Tensor], built: Built, *, kind: Format, own_tower: bool
) -> None:
    model = built.model
    write = partial(write_lisa, own_tower=own_tower) if kind == "lisa" else write_sa2va
    write(
        folder,
        tensors,
        recipe=model.recipe,
        sizes=built.sizes,
        tokenizer=model.encoder.tokenizer,
        base=built.checkpoint.tokenizer,
    )


def _verified(
    folder: Path, before: Mapping[str, Tensor], recipe: Recipe, kind: Format, vision: str | None
) -> dict[str, float]:
    """Reads the folder back, compares its answers, and for our own layout stores the new answers as the golden probe."""
    used = recipe_of(folder) if kind == "seglm" else recipe
    used = replace(used, engine=replace(recipe.engine, gradient_checkpointing=False))
    whole = used.decoder.complete(used.backbone.read(str(folder), vision=vision))
    again = assemble(used, whole, lora=False)
    after = probe.read(again.model)
    apart = probe.compare(
        after, before, precision=recipe.engine.precision, source=f"{folder.name} (merged, read back)"
    )
    if kind == "seglm":
        probe.write(folder, after)
    log.info("the folder answers its probe like the un-merged model: %s", apart)
    return apart
