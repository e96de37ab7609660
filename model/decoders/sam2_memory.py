"""What SAM-2 remembers of a video: a value that a frame is drawn with and that a new one comes out of. No module holds any of it.

Which frames a frame looks back on, and what is kept of each, is a policy. What no later frame can look back on is dropped when a
frame is written, so a memory has one size however long the video is; conditioning frames stay.
Letters: B objects, C channels of the decoder, E channels of a memory, g grid side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from seglm.utils.ranges import Count, CountOrNone

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MemoryPolicy:
    """What is written and what is read; the defaults are those of SAM-2's video predictor (sam2_video_predictor.py, 2b90b9f)."""

    frames: Count = 6
    """drawn before this one that are read, besides the conditioning ones"""
    stride: Count = 1
    """of these the last one is read whatever its number, the others if their number is a multiple of it"""
    conditioning: CountOrNone = 0
    """conditioning frames that are read, the nearest ones, of each side first the nearest; 0 reads all, of a SAM-3 four"""
    temporal: bool = True
    """a memory that is read says how many frames ago it was written"""
    pointers: CountOrNone = 16
    """frames whose object pointers are read, this one among them; 0 reads none"""
    pointers_ahead: bool = False
    """also those of conditioning frames that the walk has not reached, as in SAM-2's training"""
    occlusion: bool = True
    """an object that is said to be absent (score <= 0) gets no mask, and its memory says so"""
    conditions: bool = True
    """a frame of which something is said is drawn without looking back, and looked back on from everywhere; else it looks back,
    and is drawn with what is said, as GLUS does it"""
    masks_absent: bool = True
    """without it such an object keeps the mask that was drawn, as in Sa2VA"""
    by_mask: bool = False
    """what is drawn with prompts is remembered as a mask that was given, and carried on by the mask decoder as it was before any
    training, as Sa2VA-i has it (arXiv 2509.19082)"""
    writes: Literal["image", "conditioned"] = "image"
    """the features that a mask is written with: those of the picture, or those that memory attention made of them"""
    binarise: bool = True
    """the mask of a conditioning frame is written as 0 or 1; no gradient passes through it then"""
    detach: bool = False
    """no gradient passes from a frame to what was drawn before it"""
    best_of_several: bool = True
    """of the masks for ambiguous prompts the one with the highest estimated IoU, where no prompt or one point is given"""
    stable: bool = True
    """that one, too, where the mask for unambiguous prompts hangs on its threshold (stability below 0.98 within 0.05)"""


PREDICTING = MemoryPolicy()
TRAINING = MemoryPolicy(pointers_ahead=True, binarise=False, stable=False)
"""as SAM-2 was trained (modeling/sam2_base.py at 2b90b9f, where it asks `self.training`)"""


@dataclass(frozen=True, eq=False)
class Entry:
    """What is remembered of one frame."""

    frame: int
    features: Tensor | None
    """[B, E, g, g]; None once only the pointer can be looked back on"""
    pointer: Tensor
    """[B, C]"""

    def of(self, objects: Sequence[int]) -> Entry:
        rows = list(objects)
        features = None if self.features is None else self.features[rows]
        return Entry(self.frame, features, self.pointer[rows])


@dataclass(frozen=True)
class Reading:
    """What one frame looks back on."""

    memories: tuple[tuple[Tensor, int], ...]
    """(features [B, E, g, g], how many frames ago, or 0 for a conditioning frame): conditioning ones first, then oldest first"""
    pointers: tuple[tuple[Tensor, int], ...]
    """(pointer [B, C], distance in frames, negative for one that the walk has not reached)"""
    span: int
    """the distance that pointers are measured against, in frames"""


@dataclass(frozen=True, eq=False)
class Memory:
    """All that was written on one walk through a video, in one direction."""

    policy: MemoryPolicy = PREDICTING
    num_frames: int | None = None
    """of the video, where that is known: in one of fewer frames than the policy has pointers, distances count for more"""
    backwards: bool = False
    """the walk goes from high frame numbers to low ones"""
    conditioning: tuple[Entry, ...] = ()
    recent: tuple[Entry, ...] = ()
    """in the order in which they were written"""

    @property
    def is_empty(self) -> bool:
        return not self.conditioning and not self.recent

    def read(self, frame: int) -> Reading:
        """What frame number `frame` looks back on (sam2_base.py:508-611 at 2b90b9f)."""
        chosen = self._chosen(frame)
        others = [entry for entry in self.conditioning if entry not in chosen]
        known = {entry.frame: entry for entry in (*others, *self.recent)}
        memories = [(entry.features, 0) for entry in chosen]
        ago = list(self._looked_back_on(frame))
        for position in range(len(ago), 0, -1):
            entry = known.get(ago[position - 1])
            if entry is not None and entry.features is not None:
                memories.append((entry.features, position))
        limit = min(self.policy.pointers, self.num_frames or self.policy.pointers)
        return Reading(
            memories=tuple((features, position) for features, position in memories if features is not None),
            pointers=tuple(self._pointers(frame, chosen, known, limit)),
            span=max(1, limit - 1),
        )

    def write(self, entry: Entry, *, conditioning: bool) -> Memory:
        """The memory with one frame more, and without what no frame behind it looks back on."""
        if conditioning:
            return replace(self, conditioning=(*self.conditioning, entry))
        return replace(self, recent=tuple(self._kept(entry)))

    def of(self, objects: Sequence[int]) -> Memory:
        """The memory of some of its objects, by their places in the batch."""
        return replace(
            self,
            conditioning=tuple(entry.of(objects) for entry in self.conditioning),
            recent=tuple(entry.of(objects) for entry in self.recent),
        )

    def turned(self) -> Memory:
        """For a walk the other way: the conditioning frames alone."""
        return replace(self, backwards=not self.backwards, recent=())

    def _pointers(
        self, frame: int, chosen: tuple[Entry, ...], known: dict[int, Entry], limit: int
    ) -> Iterator[tuple[Tensor, int]]:
        for entry in chosen if limit else ():
            distance = self._distance(frame, entry.frame)
            if distance >= 0 or self.policy.pointers_ahead:
                yield entry.pointer, distance
        for distance in range(1, limit):
            found = known.get(frame + distance if self.backwards else frame - distance)
            if found is not None:
                yield found.pointer, distance

    def _distance(self, frame: int, other: int) -> int:
        """Frames that the walk needs from `other` to `frame`."""
        return other - frame if self.backwards else frame - other

    def _chosen(self, frame: int) -> tuple[Entry, ...]:
        """The conditioning frames that are read: the nearest before, the nearest behind, then the nearest of the others."""
        most = self.policy.conditioning
        if not most or len(self.conditioning) <= most:
            return self.conditioning
        near = sorted(self.conditioning, key=lambda entry: abs(entry.frame - frame))
        first = [entry for entry in near if entry.frame < frame][:1]
        first += [entry for entry in near if entry.frame >= frame][:1]
        return tuple([*first, *(entry for entry in near if entry not in first)][:most])

    def _looked_back_on(self, frame: int) -> Iterator[int]:
        """Numbers of the frames that are read as memories, the newest first."""
        step = self.policy.stride
        sign = -1 if self.backwards else 1
        yield frame - sign
        newest = (sign * frame - 2) // step * step
        for number in range(self.policy.frames - 1):
            yield sign * (newest - number * step)

    def _kept(self, entry: Entry) -> Iterator[Entry]:
        policy = self.policy
        for old in self.recent:
            distance = self._distance(entry.frame, old.frame)
            is_read = old.frame % policy.stride == 0 and distance <= (policy.frames - 1) * policy.stride
            if is_read:
                yield old
            elif distance <= policy.pointers - 2:
                yield replace(old, features=None)
        yield entry
