"""From a recipe to a model: base weights or a checkpoint, read strictly into freshly built modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from seglm.model.construct import construct
from seglm.model.recipe import Recipe
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.released.strict import Report, load_canonical
from seglm.model.segmenter import Segmenter
from seglm.model.sizes import Sizes
from seglm.model.trainable import Table

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
    sizes: Sizes
    checkpoint: Checkpoint


def build(recipe: Recipe, *, device: str = "cpu") -> Built:
    """The model a recipe starts training from: its LLM, vision tower and mask decoder, with new tokens, adapters and projection.

    Fresh weights depend on `recipe.engine.seed` alone.
    """
    return assemble(recipe, base_weights(recipe), device=device)


def base_weights(recipe: Recipe) -> Checkpoint:
    """The recipe's base weights as one checkpoint; parts that the LLM's folder does not hold come from their own paths."""
    return recipe.decoder.begin(recipe.backbone.read())


def assemble(recipe: Recipe, checkpoint: Checkpoint, *, lora: bool = True, device: str = "cpu") -> Built:
    """Builds modules of the checkpoint's sizes and reads every tensor into them, strictly.

    What a checkpoint may lack is only what it never had: adapters, the projection of a base that does not segment, and the fusion
    of one that knows no keywords.
    lora: False for a merged model that is only to be used.
    Raises ValueError if a part or the tokenizer is missing, or sizes contradict the recipe.
    """
    encoder = recipe.backbone.encoder(checkpoint, recipe.vocabulary)
    tensors = with_vocabulary(checkpoint.tensors, len(encoder.tokenizer), seed=recipe.engine.seed)
    sizes = sizes_of(checkpoint, vocabulary=len(encoder.tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.engine.seed)
        model, table = construct(recipe, sizes, encoder, lora=lora, device=device)
    fresh = [rf"{part}\..+" for part in ("project", "fuse") if not checkpoint.has(f"{part}.")]
    if lora and not checkpoint.lora_rank:
        fresh.append(r".+\.lora_[AB]\.weight")
    report = load_canonical(model, tensors, allow_missing=fresh)
    return Built(model, table, report, sizes, checkpoint)


def sizes_of(checkpoint: Checkpoint, *, vocabulary: int) -> Sizes:
    """The checkpoint's sizes, with room for the added tokens. Raises ValueError if a part is missing."""
    parts = {
        "language model": checkpoint.llm,
        "projector": checkpoint.projector,
        "vision tower": checkpoint.vision,
        "mask decoder": checkpoint.decoder,
    }
    if missing := [name for name, part in parts.items() if part is None]:
        raise ValueError(
            f"{checkpoint.source}: no {' and no '.join(missing)}; give the missing ones with --vision-tower and "
            "--vision_pretrained, or the whole folder of a model as --version"
        )
    return Sizes(
        llm={**(checkpoint.llm or {}), "vocab_size": vocabulary},
        vision=checkpoint.vision or {},
        decoder=checkpoint.decoder or {},
        projector=checkpoint.projector or "",
        select_layer=checkpoint.select_layer,
    )


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
