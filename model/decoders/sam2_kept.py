"""The mask decoder of a SAM-2 as it was before any training, kept beside the trained one: its tensors and its features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import pixel_unshuffle

if TYPE_CHECKING:
    from seglm.model.released.checkpoint import Checkpoint

TRAINED, ORIGINAL = "decoder.mask_decoder.", "decoder.original_mask_decoder."
KINDS = {"sam2", "sam3"}
"""of checkpoints that hold such a mask decoder and nothing else"""
CHANNELS = 7
"""times the prompt width: the levels of the trained one, and the two fine ones of the one that is kept"""


def with_original(checkpoint: Checkpoint, load: Callable[[], Checkpoint]) -> Checkpoint:
    """The checkpoint with an untrained mask decoder among its tensors, where it holds none.

    load: reads SAM-2's own weights; it is not called for a checkpoint that was just completed with them.
    """
    if checkpoint.has(ORIGINAL):
        return checkpoint
    fresh = checkpoint if KINDS & checkpoint.joined_from.keys() else load()
    kept = {
        ORIGINAL + name.removeprefix(TRAINED): tensor
        for name, tensor in fresh.tensors.items()
        if name.startswith(TRAINED)
    }
    return replace(checkpoint, tensors={**checkpoint.tensors, **kept})


def packed(mask_decoder: Any, fine: Tensor, middle: Tensor) -> list[Tensor]:
    """The two fine levels behind a mask decoder's own convolutions, on the coarse grid."""
    dtype = mask_decoder.conv_s0.weight.dtype
    found = mask_decoder.conv_s0(fine.to(dtype)), mask_decoder.conv_s1(middle.to(dtype))
    return [pixel_unshuffle(found[0], 4), pixel_unshuffle(found[1], 2)]
