"""From prompts to masks, frame by frame: the second of two stages, `speak.py` is the first.

A video of any length goes through in chunks of a few frames: none is held longer than it takes to draw in it.
Letters: J jobs (a slot in a frame), P prompt vectors, C their width, h w low resolution, H W original pixels.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import inf

import torch
from torch import Tensor

from seglm.model.decoders.base import Followed, Remembers
from seglm.model.segmenter import Segmenter
from seglm.model.tracks import Tracks
from seglm.utils.answers import Answer, Spoken
from seglm.utils.portable import is_finite

FRAMES_AT_ONCE = 4
"""that are held at the same time; how many of them are encoded in one call is the mask decoder's own business"""
JOBS_AT_ONCE = 32
"""that are decoded in one call: each has a copy of its frame's features, and some more of their size"""

NOTHING = Followed(torch.zeros((0, 1, 1, 1)), torch.zeros((0, 1)), None)
"""of a frame in which nothing is drawn"""


@dataclass(frozen=True)
class Asked:
    """A frame, and all that is to be drawn in it."""

    pixels: Tensor
    """uint8 [3, h, w], RGB, not normalised: of size `resized`, or smaller and to be enlarged to it"""
    resized: tuple[int, int]
    """(height, width) of the picture in the mask decoder's square, pixels"""
    size: tuple[int, int]
    """(H, W), original pixels"""
    spoken: tuple[Spoken, ...]
    walk: Hashable = 0
    """whose frame it is: those of one walk are drawn in their order, with what is remembered of it"""
    frame: int = 0
    """its number on the walk, 0 for the one that it sets out from"""
    num_frames: int | None = None
    """of the whole video, where that is known"""
    is_said: bool = True
    """False: its slots are found by what is remembered of them, their prompts are of another frame"""


@torch.inference_mode()
def draw(model: Segmenter, frames: Iterable[Asked]) -> Iterator[tuple[Answer, ...]]:
    """For each frame an Answer to each of its `spoken`; the next frames are taken when these were.

    Raises FloatingPointError if a mask is not finite, ValueError for a frame of which nothing is said if nothing is remembered.
    """
    rest, walks = iter(frames), Walks(model)
    while chunk := list(islice(rest, FRAMES_AT_ONCE)):
        yield from _drawn(model, chunk, walks)


def _drawn(model: Segmenter, chunk: Sequence[Asked], walks: Walks) -> Iterator[tuple[Answer, ...]]:
    wanted = [
        [prompt for spoken in asked.spoken for prompt in spoken.prompts if prompt is not None]
        for asked in chunk
    ]
    for asked, drawn in zip(chunk, _decoded(model, chunk, wanted, walks), strict=True):
        full = model.restored(drawn.logits, resized=asked.resized, size=asked.size)
        masks, scores = iter(full[:, 0].cpu()), iter(drawn.iou[:, 0].tolist())
        there = None if drawn.score is None else iter(drawn.score[:, 0].tolist())
        yield tuple(
            Answer(
                spoken,
                tuple(None if prompt is None else next(masks) for prompt in spoken.prompts),
                tuple(0.0 if prompt is None else next(scores) for prompt in spoken.prompts),
                _there(spoken, there),
            )
            for spoken in asked.spoken
        )


def _decoded(
    model: Segmenter, chunk: Sequence[Asked], wanted: Sequence[Sequence[Tensor]], walks: Walks
) -> list[Followed]:
    """For each frame its jobs; wanted: its prompts, each [P, C]."""
    device, counts = model.backbone.device, [len(prompts) for prompts in wanted]
    shown = [asked for asked, count in zip(chunk, counts, strict=True) if count]
    if not shown:
        return [NOTHING] * len(chunk)
    with model.autocast():
        features = model.decoder.encode(
            [asked.pixels.to(device, non_blocking=True) for asked in shown],
            [asked.resized for asked in shown],
        )
    prompts = torch.stack([prompt for own in wanted for prompt in own])
    if walks.remember:
        each = zip(shown, features.split(1), prompts.split([count for count in counts if count]), strict=True)
        with model.autocast():
            drawn = iter([walks.draw(*one) for one in each])
        found = [next(drawn) if count else NOTHING for count in counts]
    else:
        repeats = torch.tensor([count for count in counts if count])
        frame_of = torch.arange(len(shown)).repeat_interleave(repeats).to(features.device)
        jobs = zip(frame_of.split(JOBS_AT_ONCE), prompts.split(JOBS_AT_ONCE), strict=True)
        parts = [model.decode(features[some], asked) for some, asked in jobs]
        low, iou = (torch.cat(part).split(counts) for part in zip(*parts, strict=True))
        found = [Followed(*one, None) for one in zip(low, iou, strict=True)]
    if not is_finite(torch.cat([one.logits.flatten() for one in found])):
        raise FloatingPointError(
            "the logits of a mask are NaN or infinite, which would be an empty mask; in fp16 activations overflow, use "
            "--precision bf16 or fp32; in another precision the weights are damaged"
        )
    return found


def _there(spoken: Spoken, scores: Iterator[float] | None) -> tuple[float, ...]:
    """For each slot the next of the scores, where the decoder says them; a slot that the model rejects is not there."""
    if scores is None:
        return ()
    return tuple(-inf if prompt is None else next(scores) for prompt in spoken.prompts)


class Walks:
    """What is remembered of every walk from one frame to the next."""

    def __init__(self, model: Segmenter) -> None:
        decoder, policy = model.decoder, model.recipe.decoder.memory
        self._fresh = (
            None if policy is None or not isinstance(decoder, Remembers) else Tracks(decoder, policy)
        )
        self._tracks: dict[Hashable, Tracks] = {}
        self._last: dict[Hashable, tuple[int, bool]] = {}
        """frame of each walk that was drawn last of those of which nothing is said, and whether numbers were falling there"""

    @property
    def remember(self) -> bool:
        return self._fresh is not None

    def draw(self, asked: Asked, features: Tensor, prompts_JPC: Tensor) -> Followed:
        """One frame, the slots of it that draw. features: [1, ...]."""
        assert self._fresh is not None
        slots = [
            (number, place)
            for number, spoken in enumerate(asked.spoken)
            for place, prompt in enumerate(spoken.prompts)
            if prompt is not None
        ]
        tracks = self._tracks.get(asked.walk) or replace(self._fresh, num_frames=asked.num_frames)
        if not asked.is_said:
            last, fell = self._last.get(asked.walk, (asked.frame, False))
            falls = asked.frame < last
            tracks = tracks if falls == fell else tracks.turned()
            self._last[asked.walk] = asked.frame, falls
        said = prompts_JPC if asked.is_said else None
        drawn, self._tracks[asked.walk] = tracks.draw(slots, features, said, frame=asked.frame)
        return drawn
