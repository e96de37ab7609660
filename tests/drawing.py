"""Answers in words and masks to a whole batch at once, as tests compare them with the originals'."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seglm.model.draw import Asked, draw
from seglm.model.segmenter import Segmenter
from seglm.model.speak import speak, speak_forced
from seglm.utils.answers import Answer, Spoken
from seglm.utils.batch import Batch


def answer(model: Segmenter, batch: Batch, *, max_new_tokens: int) -> list[Answer]:
    """One Answer a dialogue, generated and drawn in the first drawn frame of its example."""
    return _drawn(model, batch, speak(model, batch, max_new_tokens=max_new_tokens))


def forced(model: Segmenter, batch: Batch) -> list[Answer]:
    """The same for dialogues whose words are given."""
    return _drawn(model, batch, speak_forced(model, batch))


def masks(given: Answer) -> Tensor:
    """float32 [S, H, W], logits of slots that are all drawn."""
    return torch.stack([mask for mask in given.masks if mask is not None])


def _drawn(model: Segmenter, batch: Batch, spoken: Sequence[Spoken]) -> list[Answer]:
    frames = [batch.frame_example.index(laid.example) for laid in batch.laid]
    asked = [
        Asked(batch.drawn[frame], batch.resized[frame], batch.sizes[frame], (one,))
        for frame, one in zip(frames, spoken, strict=True)
    ]
    return [answers[0] for answers in draw(model, asked)]
