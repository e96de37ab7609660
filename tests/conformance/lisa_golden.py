"""Builds our model and batches from a golden of the LISA layout; shared by the systems that descend from LISA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.construct import construct
from seglm.model.decoders.sam import SamDims
from seglm.model.names import names
from seglm.model.older import with_settings
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.lisa import lisa_names
from seglm.model.released.strict import load_canonical
from seglm.model.segmenter import Segmenter
from seglm.model.settings import Lora
from seglm.model.sizes import Sizes
from seglm.utils.types import IMAGE_POSITION, Branch, Example, Placed, Slot
from tests.conformance.goldens import constants_of, tensors, weights_of

PLACEHOLDER = -200  # the original's own sentinel: one position for all patches
SLOT_NAMES = ("SEG", "REJ", "KEY")
PARENTS = {
    "lisa": "lisa_7b",
    "gsva": "gsva_7b",
    "keyseg": "keyseg_7b_released",
}  # family -> the recipe that was released


class GoldenIds:
    """Stands in for the dialogue encoder: goldens are ids, and say themselves which id is which token."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        self.eos = ids["eos"]
        self._ids = {f"[{name}]": ids[name] for name in SLOT_NAMES if name in ids}

    def token_id(self, token: str) -> int:
        return self._ids[token]

    def is_over(self, ids: list[int]) -> bool:
        return ids[-1] == self.eos

    def decode(self, ids: list[int]) -> str:
        return " ".join(str(token) for token in ids)


@dataclass(frozen=True)
class Golden:
    """One case: our model with the original's weights, and what goes in and came out."""

    model: Segmenter
    io: dict[str, Tensor]
    about: dict[str, Any]
    ids: dict[str, int]


def golden_recipe(about: Mapping[str, Any], family: str = "lisa") -> Recipe:
    """The released recipe in float32, with the case's LoRA or none, and the original's constants for rejected masks."""
    base = named(PARENTS[family])
    said = about.get("lora")
    lora = Lora(r=said["r"], alpha=said["alpha"], dropout=said["dropout"]) if said else Lora(r=0)
    engine = replace(base.engine, precision="fp32", attention="sdpa", gradient_checkpointing=False)
    base = with_settings(base, [("engine.rejected_masks", "peer")])
    return replace(base, engine=engine, trainable=replace(base.trainable, lora=lora))


def _with_constants(recipe: Recipe, lisa: Mapping[str, Any], keyseg: Mapping[str, Any]) -> Recipe:
    """The weights of the losses, and the sizes of KeySeg's fusion, that the case was computed with."""
    weights = {
        "language": lisa["ce_loss_weight"],
        "bce": lisa["bce_loss_weight"],
        "dice": lisa["dice_loss_weight"],
        "keyword": keyseg.get("key_loss_weight", 0.0),
    }
    sizes = {"fusion_hidden": "hidden", "upsample_size": "rows", "temperature": "temperature"}
    fusion = replace(
        recipe.fusion, **{ours: keyseg[theirs] for theirs, ours in sizes.items() if theirs in keyseg}
    )
    terms = tuple(replace(term, weight=weights[term.name]) for term in recipe.terms)
    return replace(recipe, terms=terms, fusion=fusion)


def load(family: str, case: str, about: dict[str, Any]) -> Golden:
    """Every tensor of the case is loaded strictly: nothing may be missing, nothing may be left over."""
    weights, config = weights_of(family, case)
    io = tensors(family, case, "io.safetensors")
    adapters = {name.removeprefix("lora."): value for name, value in io.items() if name.startswith("lora.")}
    sam = {key: value for key, value in config["sam"].items() if key in SamDims.__dataclass_fields__}
    llama = {key: value for key, value in config["llama"].items() if key != "use_cache"}
    encoder = cast(DialogueEncoder, GoldenIds(config["tokens"]))
    recipe = _with_constants(golden_recipe(about, family), config["lisa"], constants_of(family, case))
    recipe = replace(recipe, decoder=replace(recipe.decoder, image_size=sam["image_size"]))
    model, _ = construct(recipe, Sizes(llama, config["clip"], sam), encoder)
    load_canonical(model, lisa_names({**weights, **adapters}, source=f"{family}/{case}"))
    return Golden(model, io, about, config["tokens"])


def examples(golden: Golden, *, is_open: bool = False) -> list[Example]:
    """One Example an image, its conversations as branches, image placeholders expanded."""
    io, about = golden.io, golden.about
    offset = io["in.offset"].tolist() if "in.offset" in io else [0, len(io["in.input_ids"])]
    real = io.get("in.attention_masks", torch.ones_like(io["in.input_ids"], dtype=torch.bool))
    labels = io.get("in.labels", torch.full_like(io["in.input_ids"], -100))
    sizes = about.get("label_sizes") or about["original_size_list"]
    keywords = about.get("input_keywords_ids_list", [])
    result = []
    for image, (first, last) in enumerate(zip(offset, offset[1:])):
        branches, target = [], 0
        for row in range(first, last):
            keep = real[row]
            branch = _branch(golden, io["in.input_ids"][row][keep], labels[row][keep], target)
            branch = _with_words(branch, [words[0] if words else 0 for words in keywords[row : row + 1]])
            target += sum(placed.slot.token != "[KEY]" for placed in branch.slots)
            branches.append(replace(branch, slots=()) if is_open else branch)
        masks = io.get(f"in.masks_list.{image}", torch.zeros((0, *sizes[image])))
        result.append(
            Example(
                key=f"golden/{image}",
                branches=tuple(branches),
                vision=io["in.images_clip"][image : image + 1].numpy(),  # type: ignore[arg-type]
                drawn=io["in.images"][image : image + 1].numpy(),  # type: ignore[arg-type]
                resized=tuple(about["resize_list"][image]),
                size=tuple(sizes[image]),
                masks=masks[:, None].bool().numpy(),
            )
        )
    return result


def _branch(golden: Golden, ids: Tensor, labels: Tensor, first_target: int) -> Branch:
    patches = golden.model.backbone.patches
    at = int((ids == PLACEHOLDER).nonzero()[0])
    image = np.full(patches, IMAGE_POSITION, np.int64)
    full = np.concatenate([ids[:at].numpy(), image, ids[at + 1 :].numpy()])
    trained = np.concatenate(
        [labels[:at].numpy(), np.full(patches, -100, np.int64), labels[at + 1 :].numpy()]
    )
    shown = full == IMAGE_POSITION
    patch = np.full(len(full), -1, np.int64)
    patch[shown] = np.arange(patches)
    return Branch(
        full,
        trained,
        np.where(shown, 0, -1).astype(np.int64),
        patch,
        _slots(golden, full.tolist(), first_target),
    )


def _slots(golden: Golden, ids: list[int], first_target: int) -> tuple[Placed, ...]:
    """[SEG] draws a target, [REJ] has one and draws nothing, [KEY] speaks of the target before it."""
    tokens = {golden.ids[name]: f"[{name}]" for name in SLOT_NAMES if name in golden.ids}
    slots: list[Placed] = []
    target = first_target - 1
    for place, token in ((place, tokens[number]) for place, number in enumerate(ids) if number in tokens):
        target += token != "[KEY]"
        slots.append(Placed(Slot(token, target, (0,) if token == "[SEG]" else ()), place))
    return tuple(slots)


def _with_words(branch: Branch, words: list[int]) -> Branch:
    """The first token of each keyword, at the [KEY] slots in order."""
    left = iter(words)
    slots = tuple(
        replace(placed, word_id=next(left, 0)) if placed.slot.token == "[KEY]" else placed
        for placed in branch.slots
    )
    return replace(branch, slots=slots)


def original_gradients(family: str, case: str, golden: Golden) -> dict[str, Tensor]:
    """The original's gradients under our module names."""
    found = tensors(family, case, "grads.safetensors")
    ours = lisa_names({key.removeprefix("grad."): value for key, value in found.items()}, source=case)
    inside = names(golden.model)
    return {inside[name]: value for name, value in ours.items()}
