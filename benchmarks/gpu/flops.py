"""Floating-point operations of a training step: what is executed, and the least that gives the same gradients.

FLOP = 2 x multiply-add. Executed operations are counted by PyTorch while a step runs. The least is a sum over images: each is
encoded once, by SAM only if a mask is asked for; each token of the shared dialogue goes once through the LLM, its gradient once
back (no weight gradient: the layers are frozen; adapters are left out, 0.1 %); a query meets the keys it may see; the language
head runs on trained tokens only. Padding, repeated prefixes and recomputed layers count nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.sizes import Size
from seglm.dataset.rows import shared_prefix
from seglm.model.backbones.projected import ProjectedBackbone
from seglm.model.decoders.sam import SamDecoder, SamDims
from seglm.model.segmenter import Segmenter
from seglm.utils.types import IGNORE_LABEL, Example


def executed(run: Callable[[], object]) -> int:
    """What PyTorch counts while `run` runs; kernels it does not know (flash-attn, compiled FlexAttention) count nothing."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class Units:
    """Operations of one image or mask, forward, as the model's own modules execute them; SAM's without what is on top."""

    encode: int
    """SAM's image encoder"""
    see: int
    """CLIP up to the layer that is read, and the projector"""
    draw: int
    """SAM's mask decoder, one mask"""


@torch.no_grad()
def units(model: Segmenter, example: Example) -> Units:
    """Counted on one image, alone."""
    backbone, decoder = model.backbone, model.decoder
    assert isinstance(backbone, ProjectedBackbone), f"the sizes are those of LLaVA, not of {type(backbone)}"
    assert isinstance(decoder, SamDecoder), f"the sizes are those of SAM, not of {type(decoder)}"
    drawn, vision = (
        torch.from_numpy(array[:1]).to(backbone.device) for array in (example.drawn, example.vision)
    )
    prompt = torch.zeros((1, 1, decoder.prompt_dim), device=backbone.device)
    with model.autocast():
        encode = executed(lambda: decoder.encode(drawn, [example.resized])) - _widened(decoder.dims)
        see = executed(lambda: backbone.projector(backbone.see(vision)))
    features = decoder.blank(backbone.device)
    return Units(encode, see, executed(lambda: decoder.decode(features, prompt)))


def _widened(dims: SamDims) -> int:
    """What `SamAttention` computes on top: two products of queries and keys that are longer by both sides of their grid."""
    sides = (
        dims.grid if layer in dims.global_attn_indexes else dims.window_size
        for layer in range(dims.vit_depth)
    )
    return sum(4 * dims.vit_heads * ceil(dims.grid / side) ** 2 * side**4 * 2 * side for side in sides)


def least(size: Size, examples: Sequence[Example], counted: Units) -> int:
    """The least operations of forward and backward of all examples."""
    return sum(_image(size, example, counted) for example in examples)


def _image(size: Size, example: Example, counted: Units) -> int:
    llama = size.llama
    hidden, layers = int(llama["hidden_size"]), int(llama["num_hidden_layers"])
    narrow = hidden * int(llama["num_key_value_heads"]) // int(llama["num_attention_heads"])
    per_token = 2 * hidden * (2 * hidden + 2 * narrow + 3 * int(llama["intermediate_size"]))
    prefix = shared_prefix(example.branches)
    own = [len(branch.ids) - prefix for branch in example.branches]
    tokens = prefix + sum(own)
    pairs = prefix * (prefix + 1) // 2 + sum(n * prefix + n * (n + 1) // 2 for n in own)
    trained = sum(int(np.count_nonzero(branch.labels != IGNORE_LABEL)) for branch in example.branches)
    masks = sum(len(branch.slots) for branch in example.branches)
    once = counted.see + (counted.encode if masks else 0)
    # Forward and one gradient; attention has two products forward and four back; the head's weights are trained as well.
    llm = layers * (2 * per_token * tokens + 3 * 4 * hidden * pairs)
    head = 3 * 2 * hidden * int(llama["vocab_size"]) * trained
    return once + llm + head + 3 * counted.draw * masks
