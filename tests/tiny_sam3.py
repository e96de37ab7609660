"""A tiny tracker of SAM-3 of the real classes with random weights; its square is no multiple of 16 pixels, as the real one's."""

from __future__ import annotations

import torch

from seglm.model.decoders.sam3_tracker import Sam3TrackerDecoder, Sam3TrackerDims
from tests.tiny_sam2 import fill

SIDE = 84
SAM3 = Sam3TrackerDims(
    image_size=SIDE,
    vit_dim=32,
    vit_depth=2,
    vit_heads=2,
    vit_mlp=48,
    window_size=3,
    global_attn_indexes=(1,),
    pos_embed_size=4,
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


def tiny_sam3(*, seed: int = 0) -> Sam3TrackerDecoder:
    """Every object is there: the score that says so begins at 3."""
    torch.manual_seed(seed)
    decoder = Sam3TrackerDecoder(SAM3).eval()
    fill(decoder, seed=seed)
    return decoder
