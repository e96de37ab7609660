"""A tiny Segmenter of the real classes with random weights, and clips for it; for tests that need no learnt weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.templates import template
from seglm.model.backbones.tokenizer import load_tokenizer
from seglm.model.construct import construct
from seglm.model.decoders.sam import SamDims
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.segmenter import Segmenter
from seglm.model.sizes import Sizes
from seglm.utils.types import Dialogue, Example, Images, Slot, Turn

TOKENIZER = Path(__file__).parent / "goldens" / "tokenizer"
IMAGE_TOKENS = ("<im_start>", "<im_end>")
VISION = 28  # pixels a side, patch 14: four visual tokens
SQUARE = 64
NOISE = 1e-3
CLIP = dict(
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=3,
    num_attention_heads=2,
    image_size=VISION,
    patch_size=14,
)
SAM = SamDims(
    vit_dim=16, vit_depth=2, vit_heads=2, global_attn_indexes=(1,), image_size=SQUARE, window_size=3, prompt_dim=16,
    dec_heads=2, dec_mlp=32, iou_hidden=16, mask_in_chans=4,
)  # fmt: skip


def tiny_recipe(name: str = "lisa_7b", **changes: object) -> Recipe:
    """A recipe in float32 on SDPA, LoRA of rank 2 without dropout; `changes` replace its fields."""
    base = named(name)
    recipe = replace(
        base,
        engine=replace(
            base.engine, precision="fp32", attention="sdpa", gradient_checkpointing=False, workers=0
        ),
        decoder=replace(base.decoder, image_size=SQUARE),
        trainable=replace(base.trainable, lora=replace(base.trainable.lora, r=2, alpha=4, dropout=0.0)),
    )
    return replace(recipe, **changes)  # type: ignore[arg-type]


@cache
def tiny_encoder(name: str = "lisa_7b") -> DialogueEncoder:
    recipe = tiny_recipe(name)
    return DialogueEncoder(
        tokenizer=load_tokenizer(TOKENIZER, recipe.vocabulary, IMAGE_TOKENS),
        template=template("llava_v1"),
        patches=(VISION // 14) ** 2,
        image_tokens=IMAGE_TOKENS,
        tokens=recipe.vocabulary,
        max_length=512,
    )


def tiny_model(
    recipe: Recipe | None = None, *, seed: int = 0, decoder: Mapping[str, object] | None = None
) -> Segmenter:
    """Random weights, larger than the usual initialisation so that nothing hides in rounding; adapters are not zero.

    decoder: sizes of the mask decoder that the recipe names; None: those of SAM.
    """
    recipe = recipe or tiny_recipe()
    encoder = tiny_encoder(
        {
            "gsva": "gsva_7b",
            "keyseg": "keyseg_7b",
            "sa2va": "sa2va_tiny",
            "desa2va": "sa2va_tiny",
            "glus_key": "glus_key",
        }.get(recipe.system, "lisa_7b")
    )
    llama = dict(
        vocab_size=len(encoder.tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(seed)
    model, _ = construct(recipe, Sizes(llama, CLIP, decoder or asdict(SAM)), encoder)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(
                    0, 0.5 if "rel_pos" in name else parameter.shape[-1] ** -0.5, generator=generator
                )
    return model


def tiny_example(
    answers: tuple[str, ...], *, key: str = "tiny/0", size: tuple[int, int] = (40, 50), seed: int = 0
) -> Example:
    """One image with one dialogue for each answer; `{}` in an answer is the slot of the dialogue's own target."""
    rng = np.random.default_rng(seed)
    dialogues = [_dialogue(number, answer) for number, answer in enumerate(answers)]
    branches = tuple(tiny_encoder().encode(dialogue, key=key) for dialogue in dialogues)
    return _example(branches, tuple((n,) for n in range(len(answers))), key=key, size=size, rng=rng)


def tiny_prompt(questions: tuple[str, ...], *, key: str = "tiny/0", seed: int = 0) -> Example:
    """One image with one open dialogue for each question."""
    rng = np.random.default_rng(seed)
    branches = tuple(
        tiny_encoder().encode(Dialogue((Turn((Images((0,)), f"\n{question}")),)), open=True, key=key)
        for question in questions
    )
    return _example(branches, ((0,),) * len(questions), key=key, size=(40, 50), rng=rng)


def assert_same_gradients(
    got: dict[str, Tensor], want: dict[str, Tensor], *, tolerance: float = 1e-5
) -> None:
    """max|dg| / max|g| of every tensor is within the tolerance.

    A gradient that is zero in exact arithmetic (a key's bias: softmax does not see it) is rounding noise; it is measured against
    the largest gradient of all.
    """
    assert set(got) == set(want)
    floor = NOISE * max(float(value.abs().max()) for value in want.values())
    for name, value in want.items():
        off, scale = float((got[name] - value).abs().max()), float(value.abs().max())
        assert off <= tolerance * max(scale, floor), f"{name}: {off:.2e} beside {scale:.2e}"


def _dialogue(number: int, answer: str) -> Dialogue:
    before, found, after = answer.partition("{}")
    said = (before, Slot("[SEG]", number, (0,)), after) if found else (answer,)
    question = f"\nPlease segment the thing number {number} in this image."
    return Dialogue((Turn((Images((0,)), question), said),), targets=(number,))


def _example(
    branches: tuple, asked: tuple, *, key: str, size: tuple[int, int], rng: np.random.Generator
) -> Example:  # type: ignore[type-arg]
    scale = SQUARE / max(size)
    resized = (round(size[0] * scale), round(size[1] * scale))
    drawn = np.zeros((1, 3, SQUARE, SQUARE), np.uint8)
    drawn[:, :, : resized[0], : resized[1]] = rng.integers(0, 256, (1, 3, *resized))
    return Example(
        key=key,
        branches=branches,
        vision=rng.integers(0, 256, (1, 3, VISION, VISION), np.uint8),
        drawn=drawn,
        resized=resized,
        size=size,
        masks=rng.random((len(branches), 1, *size)) > 0.6,
        asked=asked,
    )
