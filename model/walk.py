"""How a sample is gone through at inference, and how frames are shown: what recipes have in common.

What is said in a window does not depend on what was said in others, so several of a walk may be asked at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seglm.utils.types import Clip, Dialogue, Images, Piece, Turn, Window

if TYPE_CHECKING:
    from seglm.model.recipe import Recipe


def each_frame(num_frames: int) -> Iterator[Window]:
    """Every frame for itself, as if it were a picture."""
    for number in range(num_frames):
        yield Window(seen=(number,), asked=(number,))


def one_of_each_part(num_frames: int, parts: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Training: a frame of each of some equal parts of a video, drawn."""
    edges = np.linspace(0, num_frames, parts + 1, dtype=int)
    return tuple(
        min(int(rng.integers(left, max(left + 1, right))), num_frames - 1)
        for left, right in zip(edges, edges[1:], strict=False)
    )


def middles_of_parts(num_frames: int, parts: int) -> tuple[int, ...]:
    """Inference: a frame near the middle of each of some equal parts (inference_iter.py of GLUS, `inference_video`)."""
    edges = np.linspace(0, num_frames, parts + 1, dtype=int)
    offset = -(-num_frames // parts) // 2
    return tuple(
        max(0, min(int(left) + offset, int(right) - 1)) for left, right in zip(edges, edges[1:], strict=False)
    )


def one_picture(num_seen: int) -> tuple[Images, ...]:
    """The first frame that is seen, whole."""
    return (Images((0,)),)


def typed_once(clip: Clip, text: str, history: Sequence[tuple[str, str]], recipe: Recipe) -> Dialogue:
    """What somebody typed, behind the questions and answers before it; what `shows` shows stands before the first of them."""
    first, *later = (*(question for question, _ in history), text)
    regions = recipe.points(clip) if clip.pointed and recipe.points else ()
    questions: list[tuple[Piece, ...]] = [
        (*recipe.shows(len(clip.seen)), *regions, recipe.chat_prompt.format(text=first)),
        *((question,) for question in later),
    ]
    answers = (*((answer,) for _, answer in history), ())
    return Dialogue(tuple(map(Turn, questions, answers)))
