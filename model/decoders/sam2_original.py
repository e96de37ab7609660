"""Masks that a trained mask decoder draws, carried on by SAM-2 as it was: Sa2VA-i (arXiv 2509.19082; kumuji/Sa2VA-i).

A frame with prompts is drawn as in training, looking back on nothing; what comes out is remembered as a mask that was given. Any
other frame is drawn by what is remembered, by the mask decoder that no training has touched.
"""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seglm.model.decoders.base import Followed
from seglm.model.decoders.sam2 import Sam2Decoder
from seglm.model.decoders.sam2_memory import Memory
from seglm.model.decoders.sam2_step import step


def carried(
    decoder: Sam2Decoder, features: Tensor, prompts_JPC: Tensor | None, memory: Memory, *, frame: int
) -> tuple[Followed, Memory]:
    """See `Remembers.follow`; whether an object can be seen is known of frames that are drawn by what is remembered."""
    original, own = original_of(decoder), features_of_original(decoder, features)
    if prompts_JPC is None:
        drawn, memory = step(original, own, memory, frame=frame)
        return drawn.followed(memory.policy), memory
    logits, iou = decoder.decode(features.expand(len(prompts_JPC), -1, -1, -1), prompts_JPC)
    logits, iou = logits[:, :1], iou[:, :1]
    masks = interpolate(logits, (decoder.image_size,) * 2, mode="bilinear", align_corners=False) > 0
    _, memory = step(original, own, memory, frame=frame, masks=masks)
    return Followed(logits, iou, None), memory


def original_of(decoder: Sam2Decoder) -> Sam2Decoder:
    """The same modules with the mask decoder that was kept, where one was; nothing is copied."""
    if decoder.original_mask_decoder is None:
        return decoder
    view = copy(decoder)
    view._modules = {**decoder._modules, "mask_decoder": decoder.original_mask_decoder}
    return view


def features_of_original(decoder: Sam2Decoder, features: Tensor) -> Tensor:
    """Of `Sam2Decoder.encode`'s features those for the mask decoder that was kept: [M, 4 C, g, g]."""
    if decoder.original_mask_decoder is None:
        return features
    width = decoder.dims.prompt_dim
    return torch.cat([features[:, 4 * width :], features[:, 3 * width : 4 * width]], dim=1)
