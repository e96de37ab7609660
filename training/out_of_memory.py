"""What a run says when its memory is full: what it was doing, with what in hand, and what could be turned down."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def message(phase: str, batch: object, device: torch.device) -> str:
    """The error's text: what ran out of memory, with what in hand, and what can be turned down, cheapest first."""
    import torch
    from torch import Tensor

    shapes = []
    if is_dataclass(batch):
        values = ((field.name, getattr(batch, field.name)) for field in fields(batch))
        shapes = [f"{name} {list(value.shape)}" for name, value in values if isinstance(value, Tensor)]
    peak = (
        f", peak {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB" if device.type == "cuda" else ""
    )
    return (
        f"out of memory on {device}{peak} in {phase}. Shapes: {'; '.join(shapes) or 'unknown'}. Turn down, cheapest first: "
        "engine.gradient_checkpointing=true; --batch_size with as much more --grad_accumulation_steps (the same result); "
        "data.targets_per_sample (masks an image); --zero 3 on several GPUs; --load_in_4bit"
    )
