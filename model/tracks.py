"""Objects followed from frame to frame, each with what the mask decoder remembers of it; in training and at inference alike.

Objects that were drawn in the same frames are one batch. One that is left out of a frame goes on alone, because it remembers
other frames than they do.
Letters: J objects drawn in a frame, P prompt vectors of an object, C their width, h w logits.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seglm.model.decoders.base import Followed, Remembers
from seglm.utils.batch import Batch

if TYPE_CHECKING:
    from seglm.model.decoders.sam2_memory import Memory, MemoryPolicy

OBJECTS_AT_ONCE = 32
"""that one call draws: each reads some 30,000 tokens, which are 60 MB in float32 on their way through a layer"""
NOBODY = "nobody"  # the object of a batch without jobs
Group = tuple[tuple[Hashable, ...], "Memory"]
"""objects of one batch, and what is remembered of them"""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Everything that is followed on one walk; a value, like the memories in it."""

    decoder: Remembers
    policy: MemoryPolicy
    groups: tuple[Group, ...] = ()
    num_frames: int | None = None
    """of the whole video, where that is known"""

    def draw(
        self, objects: Sequence[Hashable], features: Tensor, prompts_JPC: Tensor | None, *, frame: int
    ) -> tuple[Followed, Tracks]:
        """These objects in one frame, each of which is there once.

        features: [1 or J, ...] of the frame. prompts_JPC: what is said of each; None: they are found by what is remembered.
        frame: its number on the walk.
        Raises ValueError for an object that nothing is said and nothing remembered of.
        """
        rest: list[Group] = []
        found: dict[Hashable, Followed] = {}
        place = {name: number for number, name in enumerate(objects)}
        for names, memory in (*self.groups, *self._fresh(objects)):
            now = [number for number, name in enumerate(names) if name in place]
            left = [number for number, name in enumerate(names) if name not in place]
            if not now:
                rest.append((names, memory))
                continue
            if left:
                rest.append((tuple(names[number] for number in left), memory.of(left)))
                memory = memory.of(now)
            drawn = tuple(names[number] for number in now)
            at = [place[name] for name in drawn]
            followed, memory = self.decoder.follow(
                features if len(features) == 1 else _rows(features, at),
                None if prompts_JPC is None else _rows(prompts_JPC, at),
                memory,
                frame=frame,
            )
            rest.append((drawn, memory))
            found |= dict(zip(drawn, _apart(followed), strict=True))
        return _together([found[name] for name in objects]), replace(self, groups=tuple(rest))

    def turned(self) -> Tracks:
        """For a walk the other way, from the same frames that something was said of."""
        return replace(self, groups=tuple((names, memory.turned()) for names, memory in self.groups))

    def _fresh(self, objects: Sequence[Hashable]) -> list[Group]:
        known = {name for names, _ in self.groups for name in names}
        new = [name for name in objects if name not in known]
        memory = self.decoder.remembering(self.policy, num_frames=self.num_frames)
        return [
            (tuple(new[first : first + OBJECTS_AT_ONCE]), memory)
            for first in range(0, len(new), OBJECTS_AT_ONCE)
        ]


def drawn_in_order(
    decoder: Remembers, policy: MemoryPolicy, batch: Batch, features: Tensor, prompts_SPC: Tensor
) -> Tensor:
    """Low-resolution logits of all jobs of a batch, float32 [J, 1, h, w]; one dummy job where there is none.

    Each clip is drawn frame by frame in the order of its `drawn`, all clips side by side; slots of one dialogue about one target
    speak of one object. Memory is written and read on every rank, whatever it holds.
    features: [M, ...] of the drawn frames.
    """
    tracks, steps = Tracks(decoder, policy), _steps(batch)
    low: dict[int, Tensor] = {}
    for time, jobs in enumerate(steps):
        slots, frames = zip(*(batch.jobs[job] for job in jobs.values()), strict=True)
        seen = features[frames[0]][None] if len(set(frames)) == 1 else _rows(features, frames)
        drawn, tracks = tracks.draw(list(jobs), seen, _rows(prompts_SPC, slots), frame=time)
        low |= dict(zip(jobs.values(), drawn.logits.unbind(), strict=True))
    if not steps:
        drawn, tracks = tracks.draw([NOBODY], features[:1], prompts_SPC[:1], frame=0)
        low[0] = drawn.logits[0]
    masks = torch.stack([low[job] for job in range(len(low))])
    if any(name in before for before, now in pairwise(steps) for name in now):
        return masks
    unread = next(iter(tracks.groups))[0][:1]
    again, _ = tracks.draw(unread, features[:1], prompts_SPC[:1], frame=len(steps) + 1)
    return masks + 0 * again.logits.sum()


def _steps(batch: Batch) -> list[dict[Hashable, int]]:
    """For each place in the clips the objects that are drawn there, with the job of each."""
    first = {example: batch.frame_example.index(example) for example in batch.frame_example}
    steps: list[dict[Hashable, int]] = []
    for job, (number, frame) in enumerate(batch.jobs):
        slot, time = batch.slots[number], frame - first[batch.frame_example[frame]]
        steps += [{} for _ in range(time + 1 - len(steps))]
        name: Hashable = (slot.example, slot.branch, slot.target)
        while name in steps[time]:  # two slots about one target in one frame are two objects
            name = (name,)
        steps[time][name] = job
    return steps


def _apart(followed: Followed) -> list[Followed]:
    """Each object by itself."""
    scores = [None] * len(followed.iou) if followed.score is None else followed.score.split(1)
    each = zip(followed.logits.split(1), followed.iou.split(1), scores, strict=True)
    return [Followed(logits, iou, score) for logits, iou, score in each]


def _together(objects: Sequence[Followed]) -> Followed:
    scores = [one.score for one in objects if one.score is not None]
    logits, iou = (torch.cat([getattr(one, part) for one in objects]) for part in ("logits", "iou"))
    return Followed(logits, iou, torch.cat(scores) if scores else None)


def _rows(values: Tensor, rows: Sequence[int]) -> Tensor:
    """Some rows; their numbers lie on the host, and no device waits for them."""
    return torch.stack([values[row] for row in rows])
