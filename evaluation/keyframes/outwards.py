"""An asker that begins each expression at its key frame: drawn outwards from there, or carried from there by a propagator.

Expressions of a video that have one key frame go together; those of another key frame are another walk through the video.
Letters: H W original pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.asking.ask import Asker, asker
from seglm.evaluation.asking.turns import Walk
from seglm.evaluation.keyframes.file import KeyFrames
from seglm.evaluation.propagate.anchors import asking_anchors
from seglm.evaluation.propagate.answers import Propagation, propagated
from seglm.evaluation.scores.video_predictions import video_name
from seglm.model.recipe import Recipe
from seglm.model.settings import Protocol
from seglm.utils.answers import Answer, Drawn
from seglm.utils.types import Sample

if TYPE_CHECKING:
    from torch import Tensor

    from seglm.model.segmenter import Segmenter

AskFrom = Callable[[int], Asker]
"""key frame -> what asks about videos from there"""


def walk_from(recipe: Recipe, frame: int, how: Propagation | None) -> Walk:
    """How a video is gone through from a key frame. how: masks are carried from there, so that only this frame is asked.

    Raises ValueError for a recipe that does not begin anywhere but at the first frame, or for which it makes no difference.
    """
    if how is not None:
        return asking_anchors(recipe, frame).walk
    check_outwards(recipe)
    outwards = recipe.outwards
    assert outwards is not None
    return lambda num_frames: outwards(num_frames, frame)


def check_outwards(recipe: Recipe) -> None:
    """Raises ValueError for a recipe that does not go outwards."""
    if recipe.outwards is None:
        raise ValueError(
            f"--keyframes: recipe {recipe.name} does not draw outwards from a key frame, GLUS does; with --propagate sam2 "
            "--anchors keyframe SAM-2 carries its mask of that frame"
        )


def asking_from(
    model: Segmenter, how: Propagation | None, *, protocol: Protocol, max_new_tokens: int
) -> AskFrom:
    """The model asked from a key frame; how: it draws that frame alone, and its mask is carried."""

    def ask_from(frame: int) -> Asker:
        walk = walk_from(model.recipe, frame, how)
        ask = asker(model, protocol=protocol, max_new_tokens=max_new_tokens, walk=walk)
        return ask if how is None else propagated(ask, replace(how, anchors=frame))

    return ask_from


def from_key_frames(ask_from: AskFrom, keys: KeyFrames) -> Asker:
    """Each expression from its own key frame; frames of a sample come as soon as all expressions are drawn there.

    Until then masks are kept as bits. Raises as `KeyFrames.frame` when a sample is asked.
    """

    def ask_all(samples: Sequence[Sample]) -> Iterator[Drawn]:
        for number, sample in enumerate(samples):
            yield from _sample(number, sample, ask_from, keys)

    return ask_all


def key_frames_of(sample: Sample, keys: KeyFrames) -> list[int]:
    """The key frame of each target. Raises as `KeyFrames.frame`."""
    video = video_name(sample)
    return [keys.frame(video, target.key, sample.frame_names) for target in sample.targets]


def _sample(number: int, sample: Sample, ask_from: AskFrom, keys: KeyFrames) -> Iterator[Drawn]:
    together: defaultdict[int, list[int]] = defaultdict(list)
    for position, frame in enumerate(key_frames_of(sample, keys)):
        together[frame].append(position)
    waiting: defaultdict[int, dict[int, _Kept]] = defaultdict(dict)
    for frame, positions in sorted(together.items()):
        own = replace(sample, targets=tuple(sample.targets[position] for position in positions))
        for drawn in ask_from(frame)([own]):
            now = dict(zip(positions, drawn.answers, strict=True))
            kept = waiting[drawn.frame]
            if len(kept) + len(now) < len(sample.targets):
                kept |= {position: _Kept.of(answer) for position, answer in now.items()}
                continue
            answers = {position: one.answer() for position, one in waiting.pop(drawn.frame).items()} | now
            yield Drawn(number, drawn.frame, tuple(answers[position] for position in sorted(answers)))


@dataclass(frozen=True)
class _Kept:
    """An answer whose masks wait for other expressions."""

    bare: Answer
    """without masks"""
    bits: tuple[tuple[NDArray[np.uint8], tuple[int, ...]] | None, ...]
    """of each mask its packed bits and its shape"""

    @classmethod
    def of(cls, answer: Answer) -> _Kept:
        bits = tuple(
            None if mask is None else (np.packbits((mask > 0).numpy()), tuple(mask.shape))
            for mask in answer.masks
        )
        return cls(replace(answer, masks=()), bits)

    def answer(self) -> Answer:
        """With masks of logits 1 and -1."""
        return replace(self.bare, masks=tuple(None if one is None else _unpacked(*one) for one in self.bits))


def _unpacked(bits: NDArray[np.uint8], shape: tuple[int, ...]) -> Tensor:
    import torch

    mask = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape)
    return torch.from_numpy(mask.astype(np.float32) * 2 - 1)
