"""Answers about a few frames of a video become answers about all of them.

A thing is a slot of an answer. Where an anchor's answer has no such slot, or says that the thing is not there, its mask is empty
there, which tells a propagator that it is out of sight.
Letters: N things, H W original pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.pipeline import picture
from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.propagate.anchors import Anchors, anchors_of
from seglm.model.propagate import Carried, Propagator
from seglm.utils.answers import Answer, Drawn, Spoken
from seglm.utils.types import Sample

Mask = NDArray[np.bool_]
ByFrame = Mapping[int, Answer]
"""of one target in the anchors"""


@dataclass(frozen=True)
class Propagation:
    """How masks are carried."""

    propagator: Propagator
    anchors: Anchors | int


@dataclass(frozen=True)
class _Thing:
    """A slot of what was said to a target."""

    position: int
    """of the target"""
    is_rejected: bool
    """in every anchor the model says that it is not there"""
    masks: Mapping[int, Mask]
    """bool [H, W] by anchor; of no anchor where none has a pixel"""


def propagated(ask: Asker, how: Propagation) -> Asker:
    """An asker about all frames of videos, of one whose recipe asks for the anchors only (`asking_anchors`)."""
    return lambda samples: carried(ask(samples), samples, how)


def carried(drawn: Iterable[Drawn], samples: Sequence[Sample], how: Propagation) -> Iterator[Drawn]:
    """All frames of a sample in their order, as soon as all its anchors are drawn.

    drawn: the anchors of the samples, and perhaps other frames, in any order. An anchor's own answer comes back as it is, unless
    another anchor is the key frame of one of its things. Elsewhere what was said is what the first of the anchors with the most
    slots says.
    """
    wanted = [anchors_of(sample.num_frames, how.anchors) for sample in samples]
    waiting: list[dict[int, Drawn]] = [{} for _ in samples]
    left = set(range(len(samples)))
    for one in drawn:
        own = waiting[one.sample]
        if one.sample in left and one.frame in wanted[one.sample]:
            own[one.frame] = one
            if len(own) == len(wanted[one.sample]):
                left.remove(one.sample)
                yield from _whole(one.sample, samples[one.sample], dict(sorted(own.items())), how)
                own.clear()
        if not left:
            return  # what a walk draws behind the last anchor, nobody needs
    if left:
        keys = [samples[number].key for number in sorted(left)]
        raise RuntimeError(
            f"{keys}: the recipe's walk does not draw all anchors, {wanted[min(left)]} of the first"
        )


def in_order(walk: Iterable[Carried], first: int = 0) -> Iterator[Carried]:
    """The frames from number `first` on, each as soon as all before it have come; until then its masks are kept as bits."""
    kept: dict[int, tuple[Carried, NDArray[np.uint8]]] = {}
    for one in walk:
        if one.frame != first:
            kept[one.frame] = replace(one, masks=one.masks[:0]), np.packbits(one.masks)
            continue
        yield one
        first += 1
        while first in kept:
            early, bits = kept.pop(first)
            masks = np.unpackbits(bits, count=one.masks.size).reshape(one.masks.shape)
            yield replace(early, masks=masks.astype(np.bool_))
            first += 1


@dataclass(frozen=True)
class FramesOf:
    """The frames of a sample, decoded when they are taken (`Pictures`)."""

    sample: Sample

    def __len__(self) -> int:
        return self.sample.num_frames

    def __getitem__(self, place: int) -> NDArray[np.uint8]:
        return picture(self.sample, place)


def answer_of(spoken: Spoken, masks: Sequence[Mask | None], there: Sequence[float]) -> Answer:
    """An answer whose masks are these, bool [H, W], or None where the model says that it is not there."""
    import torch

    logits = [
        None if mask is None else torch.from_numpy(np.where(mask, np.float32(1), np.float32(-1)))
        for mask in masks
    ]
    return Answer(spoken, tuple(logits), there=tuple(there))


def _whole(number: int, sample: Sample, own: Mapping[int, Drawn], how: Propagation) -> Iterator[Drawn]:
    said = [
        {frame: one.answers[position] for frame, one in own.items()}
        for position in range(len(next(iter(own.values())).answers))
    ]
    fullest = [max(answers.values(), key=lambda answer: len(answer.masks)) for answers in said]
    things = [
        _thing(position, slot, said[position], sample.size, how.anchors)
        for position, answer in enumerate(fullest)
        for slot in range(len(answer.masks))
    ]
    for frame, found in enumerate(_through(sample, things, how.propagator)):
        answers = []
        for position, answer in enumerate(fullest):
            its = [
                (thing, one) for thing, one in zip(things, found, strict=True) if thing.position == position
            ]
            if frame in own and all(frame in thing.masks for thing, _ in its):
                answers.append(said[position][frame])
                continue
            masks = [None if thing.is_rejected else mask for thing, (mask, _) in its]
            there = [logit for _, (_, logit) in its if logit is not None]
            answers.append(answer_of(answer.spoken, masks, there if len(there) == len(its) else ()))
        yield Drawn(number, frame, tuple(answers))


def _thing(position: int, slot: int, said: ByFrame, size: tuple[int, int], anchors: Anchors | int) -> _Thing:
    masks, empty = dict[int, Mask](), np.zeros(size, np.bool_)
    is_rejected = True
    for frame, answer in said.items():
        logits = answer.masks[slot] if slot < len(answer.masks) else None
        is_rejected = is_rejected and logits is None
        masks[frame] = empty if logits is None else (logits > 0).numpy()
    drawn = [frame for frame, mask in masks.items() if mask.any()]
    if not drawn:
        return _Thing(position, is_rejected, {})
    if anchors == "keyframe":
        best = max(drawn, key=lambda frame: said[frame].scores[slot])
        return _Thing(position, is_rejected, {best: masks[best]})
    return _Thing(position, is_rejected, masks)


def _through(
    sample: Sample, things: Sequence[_Thing], propagator: Propagator
) -> Iterator[list[tuple[Mask, float | None]]]:
    """For each frame the mask of every thing, and the logit that it is there; things with the same anchors go together."""
    together: dict[tuple[int, ...], list[int]] = {}
    for number, thing in enumerate(things):
        together.setdefault(tuple(thing.masks), []).append(number)
    walks = []
    for frames, numbers in together.items():
        if frames:
            anchors = {
                frame: np.stack([things[number].masks[frame] for number in numbers]) for frame in frames
            }
            walks.append((numbers, in_order(propagator(FramesOf(sample), anchors))))
    empty = np.zeros(sample.size, np.bool_)
    for _ in range(sample.num_frames):
        found: list[tuple[Mask, float | None]] = [(empty, None)] * len(things)
        for numbers, walk in walks:
            one = next(walk)
            for place, number in enumerate(numbers):
                found[number] = one.masks[place], one.there[place] if one.there else None
        yield found
