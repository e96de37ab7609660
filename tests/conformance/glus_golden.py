"""Our GLUS with the original's weights, and clips as the goldens hold them."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache
from typing import cast

import numpy as np
from torch import Tensor

from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.construct import construct
from seglm.model.contrast import Contrast
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.lisa import lisa_names
from seglm.model.released.strict import load_canonical
from seglm.model.settings import Lora
from seglm.model.sizes import Sizes
from seglm.model.systems.glus import RELEASED
from seglm.utils.types import IGNORE_LABEL, IMAGE_POSITION, Branch, Example, Placed, Slot
from tests.conformance.goldens import facts, tensors
from tests.conformance.lisa_golden import PLACEHOLDER, Golden, GoldenIds
from tests.conformance.sam2_golden import dims_of

FAMILY = "glus"
INPUTS = "train_memory"  # the other cases say that theirs are these


def released(*, contrast: bool = False) -> Recipe:
    """GLUS-S as it was released, in float32, without adapters; the goldens' projector is frozen."""
    base = named("glus_s")
    assert base.decoder.training_memory is not None
    full = tuple(path for path in base.trainable.full if path != "projector")
    terms = tuple(
        replace(term, false_negatives=True) if isinstance(term, Contrast) else term for term in base.terms
    )
    if not contrast:
        terms = tuple(term for term in terms if not isinstance(term, Contrast))
    return replace(
        base,
        terms=terms,
        engine=replace(base.engine, precision="fp32", attention="sdpa", gradient_checkpointing=False),
        trainable=replace(base.trainable, lora=Lora(r=0), full=full),
        decoder=replace(base.decoder, image_size=128, training_memory=RELEASED),  # type: ignore[call-arg]
    )


def golden(recipe: Recipe | None = None) -> Golden:
    """Every tensor of the weights is loaded strictly."""
    sizes = facts(FAMILY, "weights", "model.json")
    config = sizes["config"]
    dims = asdict(dims_of(sizes["sam2"], sizes["sam2_flags"]))
    llama = {key: value for key, value in config["llama"].items() if key != "use_cache"}
    encoder = cast(DialogueEncoder, GoldenIds(config["tokens"]))
    model, _ = construct(recipe or released(), Sizes(llama, config["clip"], dims), encoder)
    load_canonical(model, lisa_names(tensors(FAMILY, "weights", "model.safetensors"), source=FAMILY))
    about = facts(FAMILY, INPUTS, "io.json")
    return Golden(model, inputs(), about, config["tokens"])


@cache
def inputs() -> dict[str, Tensor]:
    """What goes in and comes out of the case whose inputs all others have."""
    io = tensors(FAMILY, INPUTS, "io.safetensors")
    return io | tensors(FAMILY, INPUTS, "clip.safetensors")


def clips(said: Golden) -> list[Example]:
    """One Example a video: context and query frames for the LLM, the query frames for the masks."""
    io, about = said.io, said.about
    context, offset = about["context_frame_num"], io["in.offset"].tolist()
    side = io["in.images"].shape[-1]
    found = []
    for number, (first, last) in enumerate(zip(offset, offset[1:], strict=False)):
        branches = tuple(
            _branch(said, io["in.input_ids"][row], io["in.labels"][row], target=row - first)
            for row in range(first, last)
        )
        found.append(
            Example(
                key=f"mevis|train/{number}",
                branches=branches,
                vision=io["in.images_clip"][number].numpy(),  # type: ignore[arg-type]
                drawn=io["in.images"][number, context:].numpy(),  # type: ignore[arg-type]
                resized=(side, side),
                size=tuple(about["label_sizes"][number]),
                masks=io[f"in.masks_list.{number}"].bool().numpy(),
            )
        )
    return found


def _branch(said: Golden, ids: Tensor, labels: Tensor, *, target: int) -> Branch:
    """Each placeholder is the tokens of the next frame, each `[SEG]` the slot of the next query frame."""
    patches, frames = said.model.backbone.patches, 0
    columns: list[tuple[int, int, int, int]] = []
    slots: list[Placed] = []
    for number, label in zip(ids.tolist(), labels.tolist(), strict=True):
        if number == PLACEHOLDER:
            columns += [(IMAGE_POSITION, IGNORE_LABEL, frames, patch) for patch in range(patches)]
            frames += 1
            continue
        if number == said.ids["SEG"]:
            slots.append(Placed(Slot("[SEG]", target, (len(slots),)), len(columns)))
        columns.append((number, label, -1, -1))
    return Branch(*np.array(columns, np.int64).T, tuple(slots))
