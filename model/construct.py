"""Modules from sizes: the tree of a Segmenter with fresh weights, before any checkpoint is read into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seglm.model.attention import implementation
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.precision import computed_in
from seglm.model.recipe import Recipe
from seglm.model.sizes import Sizes
from seglm.model.trainable import Table, add_lora, apply
from seglm.utils.renamed import method_of

if TYPE_CHECKING:
    import torch

    from seglm.model.segmenter import Segmenter

CAST = ("backbone.", "decoder.image_encoder.")
"""masks are drawn and remembered in float32: what is frozen of that, such as the IoU head, may not be cast"""


def construct(
    recipe: Recipe,
    sizes: Sizes,
    encoder: DialogueEncoder,
    *,
    lora: bool = True,
    device: str | torch.device = "cpu",
) -> tuple[Segmenter, Table]:
    """A Segmenter of the given sizes: frozen weights in the recipe's precision, trainable ones in float32.

    lora: inject the recipe's adapters (False for a merged model). Returns the model in eval mode and the table of what
    is trained.
    """
    import torch

    from seglm.model.segmenter import Segmenter

    precision = recipe.engine.precision
    with torch.device(device):
        backbone = recipe.backbone.build(sizes, attention=implementation(recipe.engine), precision=precision)
        decoder = recipe.decoder.build(sizes.decoder)
        model = Segmenter(recipe=recipe, encoder=encoder, backbone=backbone, decoder=decoder)
        if lora:
            add_lora(backbone.llm, recipe.trainable.lora)
    table = apply(model, recipe.trainable)
    _cast_frozen(model, computed_in(precision))
    if recipe.engine.gradient_checkpointing:
        keep_activations(backbone.llm, False)
    return model.eval(), table


def keep_activations(llm: Any, keep: bool) -> None:
    """Whether the layers of the LLM keep their activations for the backward pass, or compute them again there."""
    # transformers' names: from 5.24 on, and before
    if keep:
        method_of(llm, "activation_checkpointing_disable", "gradient_checkpointing_disable")()
    else:
        method_of(llm, "activation_checkpointing_enable", "gradient_checkpointing_enable")(
            {"use_reentrant": False}
        )


def _cast_frozen(model: Segmenter, dtype: torch.dtype) -> None:
    """Frozen weights to the compute precision, where they do not run in float32 whatever the autocast (CAST)."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad and name.startswith(CAST):
            parameter.data = parameter.data.to(dtype)
