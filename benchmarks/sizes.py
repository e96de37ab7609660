"""Models with random weights and made-up batches, in the sizes that the benchmarks run at.

The one place of this folder that knows how a recipe becomes a model: what changes in `model/recipe.py` or `model/construct.py` is
followed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.construct import construct, keep_activations
from seglm.model.decoders.sam import SamDims
from seglm.model.precision import Precision
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.segmenter import Segmenter
from seglm.model.sizes import Sizes
from seglm.utils.types import IGNORE_LABEL, IMAGE_POSITION, Branch, Example, Placed, Slot

BEFORE_IMAGE, ADDED = (
    37,
    3,
)  # tokens before the image (system prompt); tokens added to the vocabulary, [SEG] first
ADAPTER_STD = (
    0.02  # of the second matrix of each adapter, which starts at zero in training and would hide the first
)


@dataclass(frozen=True)
class Talk:
    """What is said about one image."""

    conversations: int = 3
    question: int = 13
    """tokens of each question behind the image, which no two share"""
    answer: int = 14
    """tokens of each answer, all of them trained"""
    asks_masks: bool = True
    """each answer holds a `[SEG]`; False for questions answered in words"""


@dataclass(frozen=True)
class Size:
    """Sizes of a model and of what it is shown."""

    name: str
    llama: Mapping[str, Any]
    clip: Mapping[str, Any]
    sam: SamDims
    pictures: tuple[tuple[int, int], ...]
    """(H, W) of the originals, taken in turn"""
    talks: tuple[Talk, ...]
    """one for each image of a step"""

    @property
    def patches(self) -> int:
        return int(self.clip["image_size"] // self.clip["patch_size"]) ** 2


# LISA's mixture of 9:3:3:1 as sixteen images: twelve with three masks, three asked in words (500 tokens), one with one mask.
_SEGMENT, _WORDS, _REASON = Talk(), Talk(1, 13, 194, asks_masks=False), Talk(1)
_ALL, _ONE = Talk(1, 25, 30), Talk(1)
GSVA_MIX = (*(_ALL,) * 6, _WORDS, _ONE)
"""GSVA asks for everything in one dialogue, so that nothing is shared: eight images, six with three expressions"""
LISA_MIX = (*((*(_SEGMENT,) * 4, _WORDS) * 3), _REASON)
_COCO = ((480, 640), (427, 640))
_LLAMA = dict(
    max_position_embeddings=2048, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    tie_word_embeddings=False,
)  # fmt: skip

TINY = Size(
    "tiny",
    llama=_LLAMA | dict(
        vocab_size=515, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4,
    ),
    clip=dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=14,
    ),
    sam=SamDims(
        vit_dim=32, vit_depth=2, vit_heads=2, global_attn_indexes=(1,), image_size=64, window_size=3, prompt_dim=32,
        dec_heads=2, dec_mlp=64, iou_hidden=32, mask_in_chans=4,
    ),
    pictures=((40, 50),),
    talks=(Talk(), Talk(), Talk(1, 13, 30, asks_masks=False), Talk(1)),
)  # fmt: skip
"""seconds on a CPU: shows that a benchmark runs, not how fast anything is"""

BASELINE = Size(
    "baseline",
    llama=_LLAMA | dict(
        vocab_size=32003, hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=1024,
    ),
    clip=dict(
        hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=6, image_size=224,
        patch_size=14, hidden_act="quick_gelu",
    ),
    sam=SamDims(vit_dim=384, vit_depth=6, vit_heads=6, global_attn_indexes=(2, 5), image_size=512),
    pictures=_COCO,
    talks=(Talk(), Talk()),
)  # fmt: skip
"""the size of the published CPU baseline of LISA: 85.8 M parameters"""

SMALL = Size(
    "small",
    llama=_LLAMA | dict(
        vocab_size=1024, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4,
    ),
    clip={**BASELINE.clip, "hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 6},
    sam=SamDims(vit_dim=192, vit_depth=6, vit_heads=6, global_attn_indexes=(2, 5), image_size=256),
    pictures=BASELINE.pictures,
    talks=BASELINE.talks,
)  # fmt: skip
"""half as wide, with half the square: for videos, of which the original's schedule encodes every frame once an expression"""

LISA_7B = Size(
    "7b",
    llama=_LLAMA | dict(
        vocab_size=32003, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32,
    ),
    clip=dict(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=224,
        patch_size=14, hidden_act="quick_gelu",
    ),
    sam=SamDims(),
    pictures=_COCO,
    talks=LISA_MIX,
)  # fmt: skip
"""LLaMA-7B, CLIP-L/14 and SAM ViT-H, with LISA's mixture"""

SIZES = {size.name: size for size in (TINY, SMALL, BASELINE, LISA_7B)}


class _Ids:
    """Stands in for the dialogue encoder where a benchmark has ids, no text, and no answer ends by itself."""

    def is_over(self, ids: Sequence[int]) -> bool:
        return False


def recipe_of(
    size: Size, name: str = "lisa_7b", *, precision: Precision = "fp32", dropout: float = 0.0
) -> Recipe:
    """A recipe, by default LISA's; nothing is saved by checkpointing until `checkpointing` says so."""
    base = named(name)
    lora = replace(base.trainable.lora, dropout=dropout)
    return replace(
        base,
        decoder=replace(base.decoder, image_size=size.sam.image_size),
        engine=replace(base.engine, precision=precision, gradient_checkpointing=False, attention="prefix"),
        trainable=replace(base.trainable, lora=lora),
    )


def segmenter(
    size: Size,
    recipe: Recipe,
    *,
    device: str = "cpu",
    encoder: DialogueEncoder | None = None,
    drawing: Mapping[str, Any] | None = None,
) -> Segmenter:
    """A model in training mode; its random weights are drawn on the device itself and never lie on the host.

    encoder: of dialogues, for what has texts and not ids. drawing: sizes of the mask decoder; None: the SAM of `size`.
    """
    torch.manual_seed(0)
    sizes = Sizes(size.llama, size.clip, drawing or asdict(size.sam))
    model, _ = construct(recipe, sizes, encoder or cast(DialogueEncoder, _Ids()), device=device)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=ADAPTER_STD)
    return model.train()


def checkpointing(model: Segmenter, on: bool) -> None:
    """Whether the layers of the LLM keep their activations or compute them again."""
    keep_activations(model.backbone.llm, not on)


def attend(model: Segmenter, implementation: str) -> None:
    """Which attention the LLM uses, by transformers' name."""
    model.backbone.llm.config._attn_implementation = implementation


def examples_of(size: Size) -> list[Example]:
    """One image for each of the size's talks; the same in every process."""
    rng = np.random.default_rng(0)
    return [_example(size, number, talk, rng) for number, talk in enumerate(size.talks)]


def _example(size: Size, number: int, talk: Talk, rng: np.random.Generator) -> Example:
    picture = size.pictures[number % len(size.pictures)]
    square, view = size.sam.image_size, int(size.clip["image_size"])
    shared = _words(size, BEFORE_IMAGE - 1, rng)
    scale = square / max(picture)
    resized = (round(picture[0] * scale), round(picture[1] * scale))
    drawn = np.zeros((1, 3, square, square), np.uint8)
    drawn[:, :, : resized[0], : resized[1]] = rng.integers(0, 256, (1, 3, *resized))
    asked = range(talk.conversations if talk.asks_masks else 0)
    return Example(
        key=f"synthetic/{number}",
        branches=tuple(_branch(size, talk, target, shared, rng) for target in range(talk.conversations)),
        vision=rng.integers(0, 256, (1, 3, view, view), np.uint8),
        drawn=drawn,
        resized=resized,
        size=picture,
        masks=rng.random((len(asked), 1, *picture)) > 0.7,
        asked=tuple((target,) for target in asked) or ((),) * talk.conversations,
    )


def _branch(
    size: Size, talk: Talk, target: int, shared: NDArray[np.int64], rng: np.random.Generator
) -> Branch:
    own, answer = _words(size, talk.question, rng), _words(size, talk.answer, rng)
    place = talk.answer // 2
    if talk.asks_masks:
        answer[place] = size.llama["vocab_size"] - ADDED
    ids = np.concatenate([[1], shared, np.full(size.patches, IMAGE_POSITION), own, answer]).astype(np.int64)
    image = np.zeros(len(ids), bool)
    image[BEFORE_IMAGE : BEFORE_IMAGE + size.patches] = True
    labels = np.full(len(ids), IGNORE_LABEL, np.int64)
    labels[-talk.answer :] = ids[-talk.answer :]
    patch = np.full(len(ids), -1, np.int64)
    patch[image] = np.arange(size.patches)
    slot = Placed(Slot("[SEG]", target, (0,)), len(ids) - talk.answer + place)
    return Branch(
        ids, labels, np.where(image, 0, -1).astype(np.int64), patch, (slot,) if talk.asks_masks else ()
    )


def _words(size: Size, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ids of words: neither control tokens nor added ones."""
    return rng.integers(5, size.llama["vocab_size"] - ADDED, count)


def prompt_of(example: Example) -> Example:
    """The first conversation without its answer, to be continued."""
    branch = example.branches[0]
    cut = int(np.flatnonzero(branch.labels != IGNORE_LABEL)[0])
    open_branch = Branch(branch.ids[:cut], branch.labels[:cut], branch.frame[:cut], branch.patch[:cut])
    return replace(example, branches=(open_branch,), asked=example.asked[:1])
