"""From a recipe to a model: base weights or a checkpoint, read strictly into freshly built modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.templates import template
from seglm.model.backbones.tokenizer import load_tokenizer
from seglm.model.construct import Dims, construct
from seglm.model.decoders.sam import SamDims
from seglm.model.recipe import Recipe
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.open import open_weights
from seglm.model.released.sam import load_sam
from seglm.model.released.strict import Report, load_canonical
from seglm.model.segmenter import Segmenter
from seglm.model.trainable import Table
from seglm.utils.resolve import resolve

NEW_ROW_STD = 0.02  # transformers 4.31 draws new embedding rows from N(0, 0.02); today's mean initialisation is another recipe
VOCABULARY = ("llm.embed_tokens.weight", "llm.lm_head.weight")


@dataclass(frozen=True)
class Built:
    """A model and how it came about."""

    model: Segmenter
    table: Table
    """what is trained"""
    report: Report
    """what became of every tensor that was read"""
    dims: Dims
    checkpoint: Checkpoint


def build(recipe: Recipe, *, device: str = "cpu") -> Built:
    """The model a recipe starts training from: its LLM, vision tower and mask decoder, with new tokens, adapters and projection.

    Fresh weights depend on `recipe.engine.seed` alone.
    """
    return assemble(recipe, base_weights(recipe), device=device)


def base_weights(recipe: Recipe) -> Checkpoint:
    """The recipe's base weights as one checkpoint; CLIP and SAM come from their own paths where the LLM's folder has none."""
    backbone = recipe.backbone
    checkpoint = open_weights(
        backbone.weights,
        vision=backbone.vision,
        decoder=recipe.decoder.weights,
        revision=backbone.revision,
    )
    if not recipe.decoder.restart:
        return checkpoint
    sam = load_sam(resolve(recipe.decoder.weights, what="SAM (--vision_pretrained)"))
    return checkpoint.without(("project.", "decoder.")).joined(sam, prefixes=("decoder.",))


def assemble(recipe: Recipe, checkpoint: Checkpoint, *, lora: bool = True, device: str = "cpu") -> Built:
    """Builds modules of the checkpoint's sizes and reads every tensor into them, strictly.

    What a checkpoint may lack is only what it never had: adapters, the projection of a base that does not segment, and the fusion
    of one that knows no keywords.
    lora: False for a merged model that is only to be used.
    Raises ValueError if a part or the tokenizer is missing, or sizes contradict the recipe.
    """
    encoder = dialogue_encoder(recipe, checkpoint)
    tensors = with_vocabulary(checkpoint.tensors, len(encoder.tokenizer), seed=recipe.engine.seed)
    dims = dims_of(recipe, checkpoint, vocabulary=len(encoder.tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.engine.seed)
        model, table = construct(recipe, dims, encoder, lora=lora, device=device)
    fresh = [rf"{part}\..+" for part in ("project", "fuse") if not checkpoint.has(f"{part}.")]
    if lora and not checkpoint.lora_rank:
        fresh.append(r".+\.lora_[AB]\.weight")
    report = load_canonical(model, tensors, allow_missing=fresh)
    return Built(model, table, report, dims, checkpoint)


def dialogue_encoder(recipe: Recipe, checkpoint: Checkpoint) -> DialogueEncoder:
    """The encoder of the checkpoint's tokenizer with the recipe's tokens and template."""
    if checkpoint.tokenizer is None or checkpoint.vision is None:
        what = "tokenizer files" if checkpoint.tokenizer is None else "vision tower"
        raise ValueError(f"{checkpoint.source}: no {what}; give the whole folder of the model as --version")
    return DialogueEncoder(
        tokenizer=load_tokenizer(checkpoint.tokenizer, recipe.tokens, recipe.backbone.image_tokens),
        template=template(recipe.backbone.template),
        patches=(checkpoint.vision["image_size"] // checkpoint.vision["patch_size"]) ** 2,
        image_tokens=recipe.backbone.image_tokens,
        tokens=recipe.tokens,
        max_length=recipe.backbone.max_length,
    )


def dims_of(recipe: Recipe, checkpoint: Checkpoint, *, vocabulary: int) -> Dims:
    """The checkpoint's sizes; raises ValueError if a part is missing or the image size is not the recipe's."""
    if (
        checkpoint.llm is None
        or checkpoint.vision is None
        or checkpoint.decoder is None
        or checkpoint.projector is None
    ):
        raise ValueError(
            f"{checkpoint.source}: a part is missing; needed are a Llama, its projector, a CLIP and a SAM"
        )
    sam = SamDims.of(checkpoint.decoder)
    if sam.image_size != recipe.decoder.image_size:
        raise ValueError(
            f"decoder.image_size is {recipe.decoder.image_size}, but the SAM of {checkpoint.source} was made for "
            f"{sam.image_size}; set decoder.image_size={sam.image_size}"
        )
    llama = {**checkpoint.llm, "vocab_size": vocabulary}
    return Dims(llama, checkpoint.vision, sam, checkpoint.projector, checkpoint.select_layer)


def with_vocabulary(tensors: Mapping[str, Tensor], size: int, *, seed: int) -> dict[str, Tensor]:
    """Embedding and head of exactly `size` rows: rows of new tokens are drawn from N(0, 0.02), rows past the last
    token dropped.
    """
    result = dict(tensors)
    for number, name in enumerate(VOCABULARY):
        if name not in result:
            continue
        old = result[name]
        if old.shape[0] < size:
            generator = torch.Generator().manual_seed(seed + number)
            new = torch.randn((size - old.shape[0], old.shape[1]), generator=generator) * NEW_ROW_STD
            old = torch.cat([old, new.to(old.dtype)])
        result[name] = old[:size].clone()
    return result
