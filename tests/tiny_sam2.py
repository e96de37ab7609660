"""A tiny SAM-2 of the real classes with random weights, large enough that nothing hides in rounding."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from seglm.model.decoders.sam2 import Prompts, Sam2Decoder
from seglm.model.decoders.sam2_dims import Sam2Dims

SIDE = 64
SAM2 = Sam2Dims(
    embed_dim=8,
    heads=1,
    stages=(1, 1, 2, 1),
    global_attn_blocks=(3,),
    window_spec=(4, 4, 2, 2),
    image_size=SIDE,
    prompt_dim=16,
    memory_dim=8,
    attn_layers=1,
    attn_mlp=32,
    fuser_layers=1,
    dec_heads=2,
    dec_mlp=32,
    iou_hidden=16,
    mask_in_chans=4,
)
SAM2_0 = replace(SAM2, occlusion_embedding=False, pointer_positions=False)


def tiny_sam2(dims: Sam2Dims = SAM2, *, seed: int = 0) -> Sam2Decoder:
    """Every object is there: the score that says so begins at 3."""
    torch.manual_seed(seed)
    decoder = Sam2Decoder(dims).eval()
    fill(decoder, seed=seed)
    return decoder


def fill(decoder: Sam2Decoder, *, seed: int) -> None:
    """Random weights, large enough that nothing hides in rounding."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(
                0, 0.1 if parameter.dim() < 2 else parameter[0].numel() ** -0.5, generator=generator
            )
        for name, parameter in decoder.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
        decoder.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(3)


def pictures(count: int, *, seed: int = 0, side: int = SIDE) -> Tensor:
    """uint8 [count, 3, side, side]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def features_of(decoder: Sam2Decoder, count: int, *, seed: int = 0) -> Tensor:
    """[count, 4 C, g, g] of so many pictures."""
    return decoder.encode(pictures(count, seed=seed), [(SIDE, SIDE)] * count)


def vectors(objects: int, *, seed: int = 0, width: int = SAM2.prompt_dim) -> Prompts:
    """One vector an object."""
    generator = torch.Generator().manual_seed(seed)
    return Prompts(torch.randn(objects, 1, width, generator=generator))
