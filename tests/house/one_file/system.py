"""Dots: a system that brings what a system may bring: a fusion, a loss term, a mask decoder and a family of data of its own.

tests/house/test_one_file.py puts this file, and no other, into `model/systems` of a copy of the checkout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from seglm.model.backbones.llava import Llava
from seglm.model.decoders.base import DecoderChoice
from seglm.model.fusion import Fusion, Mention
from seglm.model.recipe import Recipe, Token
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.scripts import SEG, one_expression_a_dialogue, one_frame, one_question_a_target
from seglm.model.segmenter import Segmenter
from seglm.model.settings import Data, Evaluate, Schedule, Trainable
from seglm.model.terms import Bce, Language, Predicted, Term
from seglm.model.toy import toy_sized
from seglm.utils.batch import Batch

SIDE, PATCH = 32, 8


@dataclass(frozen=True)
class Scaled(Fusion):
    """Every channel of a prompt has a scale of its own."""

    start: float = 1.0

    def build(self, recipe: Recipe, *, width: int, hidden: int) -> Scales:
        return Scales(width, self.start)


class Scales(nn.Module):
    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), start))

    def forward(self, queries: Tensor, slots: Sequence[Mention]) -> Tensor:
        return queries * self.scale


@dataclass(frozen=True)
class Short(Term):
    """Queries shall be short: the mean square of each."""

    name = "short"

    def count(self, batch: Batch) -> int:
        return len(batch.slots)

    def total(self, batch: Batch, predicted: Predicted, model: Segmenter) -> Tensor:
        return predicted.queries_SC[: self.count(batch)].square().mean(1).sum()


@dataclass(frozen=True)
class Dots(DecoderChoice):
    """Logits are dot products of the prompt with patches."""

    weights: str = ""
    image_size: int = SIDE
    width: int = 6

    def complete(self, checkpoint: Checkpoint) -> Checkpoint:
        if checkpoint.has("decoder."):
            return checkpoint
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            fresh = DotDecoder(self.width)
        tensors = {f"decoder.{name}": value for name, value in fresh.state_dict().items()}
        own = Checkpoint("dots", tensors, decoder={"width": self.width})
        return checkpoint.joined(own, prefixes=("decoder.",))

    def build(self, sizes: Mapping[str, Any]) -> DotDecoder:
        return DotDecoder(**sizes)

    def preprocessing(self) -> dict[str, Any]:
        return {"size": SIDE, "scale": "0..1"}


class DotDecoder(nn.Module):
    image_size = SIDE

    def __init__(self, width: int) -> None:
        super().__init__()
        self.prompt_dim = width
        self.image_encoder = nn.Conv2d(3, width, PATCH, PATCH)
        self.mask_decoder = nn.Linear(width, width)

    @torch.no_grad()
    def encode(self, frames: Sequence[Tensor] | Tensor, resized: Sequence[tuple[int, int]]) -> Tensor:
        weight = self.image_encoder.weight
        square = torch.zeros((len(frames), 3, SIDE, SIDE), device=weight.device)
        for place, frame, (height, width) in zip(square, frames, resized, strict=True):
            small = nn.functional.interpolate(frame[None].float() / 255, (height, width))[0]
            place[:, :height, :width] = small
        features: Tensor = self.image_encoder(square.to(weight.dtype))
        return features

    def blank(self, device: torch.device) -> Tensor:
        return torch.zeros((1, self.prompt_dim, SIDE // PATCH, SIDE // PATCH), device=device)

    def decode(self, features: Tensor, prompts_JPC: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(features.device.type, enabled=False):
            logits = torch.einsum(
                "jchw,jc->jhw", features.float(), self.mask_decoder(prompts_JPC[:, 0].float())
            )
        return logits[:, None], logits.new_ones((len(logits), 1))


def dots_tiny() -> Recipe:
    """Dots on the tiny LLaVA and on pictures of its own."""
    recipe = Recipe(
        name="dots",
        system="dots",
        backbone=Llava(weights="LLaVA-Lightning-7B-v1-1"),
        decoder=Dots(),
        tokens=(Token(SEG, "draws"),),
        frames=one_frame,
        script=one_expression_a_dialogue,
        prompt=one_question_a_target,
        fusion=Scaled(start=0.5),
        terms=(Language(1.0), Bce(2.0), Short(0.1)),
        trainable=Trainable(
            full=("llm.embed_tokens", "llm.lm_head", "decoder.mask_decoder", "project", "fuse"), frozen=()
        ),
        data=Data(mixture=("dots",), rates=(1.0,), sets={"dots": ("dots",)}),
        evaluate=Evaluate(dataset="dots|val", max_new_tokens=8),
    )
    sized = toy_sized(recipe, name="dots_tiny")
    return replace(
        sized,
        parent="dots_tiny",
        decoder=recipe.decoder,
        project=recipe.project,  # there are no points that its prompts could begin as
        data=replace(recipe.data, targets_per_sample=1),
        schedule=Schedule(epochs=1, steps_per_epoch=2, batch_size=2, grad_accumulation_steps=1, world_size=1),
    )
