"""A tiny Qwen-VL of either generation: transformers' own with random weights, in a folder, and what it and ours are shown."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from seglm.dataset.pipeline import example
from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.qwen_vl import QwenVL, QwenVLBackbone, layers_of, patches_of
from seglm.model.names import canonical
from seglm.model.point_terms import Points
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.open import open_weights
from seglm.model.sizes import Sizes
from seglm.utils.batch import Batch
from seglm.utils.types import IMAGE_POSITION, Clip, Dialogue, Example, Images, Piece, Slot, Turn
from tests import tiny_internvl
from tests.tiny_sam2 import SAM2_0, SIDE, tiny_sam2

KINDS = ("qwen2_5_vl", "qwen3_vl")
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
PATCH = {"qwen2_5_vl": 14, "qwen3_vl": 16}
TEXT = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    rms_norm_eps=1e-6,
    hidden_act="silu",
    bos_token_id=None,
    eos_token_id=None,
)
ROPE = {  # four pairs of channels of a head: two for time, one each for height and width
    "qwen2_5_vl": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1]},
    "qwen3_vl": {
        "rope_type": "default",
        "rope_theta": 5e6,
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
    },
}
TOWER: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": dict(
        depth=2,
        hidden_size=16,
        intermediate_size=32,
        num_heads=2,
        patch_size=14,
        window_size=56,
        fullatt_block_indexes=[1],
        tokens_per_second=2,
        out_hidden_size=32,
    ),
    "qwen3_vl": dict(
        depth=3,
        hidden_size=16,
        intermediate_size=32,
        num_heads=2,
        patch_size=16,
        num_position_embeddings=16,
        deepstack_visual_indexes=[0, 1],
        out_hidden_size=32,
        hidden_act="gelu_pytorch_tanh",
    ),
}


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    made = copy.deepcopy(tiny_internvl.tokenizer())
    made.add_tokens(list(VISION_TOKENS), special_tokens=True)
    return made


def theirs(kind: str, *, tied: bool = False, seed: int = 0) -> Any:
    """transformers' whole model, its weights large enough that nothing hides in rounding."""
    word = tokenizer().convert_tokens_to_ids
    own = {} if kind == "qwen2_5_vl" else {"head_dim": 8, "attention_bias": False}
    config_class: Any = Qwen2_5_VLConfig if kind == "qwen2_5_vl" else Qwen3VLConfig
    model_class: Any = (
        Qwen2_5_VLForConditionalGeneration if kind == "qwen2_5_vl" else Qwen3VLForConditionalGeneration
    )
    config = config_class(
        text_config={**TEXT, **own, "vocab_size": len(tokenizer()), "rope_parameters": dict(ROPE[kind])},
        vision_config=dict(TOWER[kind]),
        image_token_id=word("<|image_pad|>"),
        video_token_id=word("<|video_pad|>"),
        vision_start_token_id=word("<|vision_start|>"),
        vision_end_token_id=word("<|vision_end|>"),
        tie_word_embeddings=tied,
    )
    torch.manual_seed(seed)
    model = model_class(config).eval()
    state = tiny_internvl.random_tensors(model.state_dict(), seed=seed)
    if tied:
        state["lm_head.weight"] = state["model.language_model.embed_tokens.weight"]
    model.load_state_dict(state)
    return model


def write(folder: Path, kind: str, *, tied: bool = False) -> Path:
    """A folder as transformers writes it."""
    theirs(kind, tied=tied).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


RECIPES = {"qwen2_5_vl": "sa2va_qwen2_5_3b", "qwen3_vl": "sa2va_qwen3_4b"}
SLOT = Slot("[SEG]", 0, (0,))
QUESTION = "\nPlease segment the red ring in this image."
PIXELS = dict(
    min_pixels=4 * 32**2, max_pixels=12 * 32**2, frame_min_pixels=4 * 32**2, frame_max_pixels=6 * 32**2
)
"""4 to 12 cells of 32 pixels of a still, 4 to 6 of a frame"""
SIZE = (64, 96)
"""two rows of three cells of either generation, and of either budget"""
LIKE_THEIRS: dict[str, Any] = dict(atol=1e-5, rtol=1e-5)


def choice(folder: Path, **changes: Any) -> QwenVL:
    values: dict[str, Any] = {**PIXELS, **changes}
    return QwenVL(weights=str(folder), **values)


def encoder(folder: Path, *tokens: str) -> DialogueEncoder:
    return choice(folder).encoder(open_weights(str(folder)), tokens)


def sizes_of(folder: Path) -> Sizes:
    read = open_weights(str(folder))
    assert read.llm is not None and read.vision is not None
    return Sizes({**read.llm, "tie_word_embeddings": False}, read.vision, {}, "in_tower", -1)


def ours(folder: Path, *, attention: str = "sdpa") -> QwenVLBackbone:
    """Our module with the folder's weights, frozen."""
    made = choice(folder).build(sizes_of(folder), attention=attention, precision="fp32")
    inside = {canonical(f"backbone.{name}"): name for name in made.state_dict()}
    tensors = open_weights(str(folder)).tensors
    made.load_state_dict({inside[name]: tensor for name, tensor in tensors.items()})
    return made.eval().requires_grad_(False)


def picture(seed: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def clip(count: int, size: tuple[int, int] = SIZE, *, seed: int = 0) -> Clip:
    frames = tuple(picture(seed + number, size) for number in range(count))
    return Clip(key=f"k{seed}", size=size, seen=frames, drawn=())


def shown(said: DialogueEncoder, seen: Clip, *dialogues: Dialogue, kind: str) -> Example:
    branches = said.encode_script(dialogues, key=seen.key, size=seen.size)
    return example(
        seen,
        branches,
        dialogues,
        vision_size=2 * PATCH[kind],
        decoder_size=4,
        pixels="peer",
        look=said.look,
    )


def talk(*pieces: Piece, answer: str = "Sure, it is.") -> Dialogue:
    return Dialogue((Turn(pieces, (answer,) if answer else ()),))


# ---- what transformers is given -------------------------------------------------------------------------------------
def their_inputs(batch: Batch, examples: Sequence[Example], kind: str) -> dict[str, Tensor]:
    """The same rows for transformers' model: no sharing of prefixes, padding at the right."""
    word = tokenizer().convert_tokens_to_ids
    is_seen = batch.ids == IMAGE_POSITION
    moves = torch.zeros(len(batch.vision), dtype=torch.bool)
    pictures: dict[bool, list[Tensor]] = {False: [], True: []}
    grids: dict[bool, list[list[int]]] = {False: [], True: []}
    begin = 0
    mean, std = ((0.5,) * 3, (0.5,) * 3) if kind == "qwen3_vl" else (QwenVLBackbone.mean, QwenVLBackbone.std)
    pixels = (batch.vision.float() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    for frames, rows, columns in batch.grids:
        count = frames * rows * columns
        members, _ = layers_of([(frames, rows, columns)])
        is_video = frames > 1
        pictures[is_video].append(patches_of(pixels[begin : begin + count][members], 2))
        grids[is_video].append([-(-frames // 2), 2 * rows, 2 * columns])
        moves[begin : begin + count] = is_video
        begin += count
    kinds = torch.zeros_like(batch.ids)
    kinds.view(-1)[batch.image_at] = 1 + moves[batch.image_frame].long()
    ids = batch.ids.where(kinds != 1, word("<|image_pad|>")).where(kinds != 2, word("<|video_pad|>"))
    assert torch.equal(kinds > 0, is_seen)
    given = {
        "input_ids": ids,
        "attention_mask": (batch.group >= 0).long(),
        "mm_token_type_ids": kinds,
    }
    for is_video, (values, grid) in {
        False: ("pixel_values", "image_grid_thw"),
        True: ("pixel_values_videos", "video_grid_thw"),
    }.items():
        if pictures[is_video]:
            given |= {values: torch.cat(pictures[is_video]), grid: torch.tensor(grids[is_video])}
    return given


def rows(kind: str, said: DialogueEncoder) -> list[Example]:
    """Rows of differing lengths: pictures of differing shapes, a text, and a piece of video (of Qwen 3 layer by layer)."""
    video: tuple[Piece, ...] = (Images((0, 1, 2), "moving"),)
    if kind == "qwen3_vl":
        moving = (Images((0, 1), "moving"), "<1.0 seconds>", Images((2, 3), "moving"))
        video = ("<0.5 seconds>", *moving)
    return [
        shown(said, clip(1), talk(Images((0,), "fine"), QUESTION), kind=kind),
        shown(
            said,
            clip(2, (96, 64), seed=3),
            talk(Images((0,)), "\n", Images((1,)), QUESTION, answer="Sure."),
            kind=kind,
        ),
        shown(said, clip(4 if kind == "qwen3_vl" else 3, seed=7), talk(*video, QUESTION), kind=kind),
        shown(
            said,
            clip(1, (100, 130), seed=9),
            talk("It is? It is? It is?", Images((0,), "fine"), "\n"),
            kind=kind,
        ),
    ]


def tiny_recipe(kind: str, folder: Path) -> Recipe:
    """The recipe on these weights, with a tiny SAM-2 and adapters of rank 2."""
    recipe = named(RECIPES[kind])
    terms = tuple(
        replace(term, points=Points(count=32)) if hasattr(term, "points") else term for term in recipe.terms
    )
    return replace(
        recipe,
        backbone=choice(folder),
        terms=terms,
        engine=replace(
            recipe.engine, precision="fp32", attention="sdpa", gradient_checkpointing=False, workers=0
        ),
        decoder=replace(recipe.decoder, weights=str(sam2(folder)), image_size=SIDE, keeps_original=False),
        trainable=replace(recipe.trainable, lora=replace(recipe.trainable.lora, r=2, alpha=4, dropout=0.0)),
    )


def sam2(folder: Path) -> Path:
    place = folder.with_name(f"{folder.name}-sam2")
    if not place.exists():
        place.mkdir()
        tensors = {f"decoder.{name}": value for name, value in tiny_sam2(SAM2_0).state_dict().items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, place / "model.safetensors")
        sizes = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(SAM2_0).items()}
        (place / "config.json").write_text(json.dumps(sizes))
    return place
