"""A clip as VideoLISA shows it to a language model: frames as one token each, then a few of them whole.

Letters: N clips, V visual tokens of a clip, P patches of a frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seglm.bases.clip_cache import DrawnClip
from seglm.bases.patch_lessons import LEAST_SHARE, PATCH
from seglm.bases.scene_cache import SIDE
from seglm.bases.tiny_llava import vision_features
from seglm.dataset.toy.scenes import Thing
from seglm.model.systems.videolisa import POOLED, WHOLE, sparse_and_dense, stretched

PATCHES = (SIDE // PATCH) ** 2
VISUAL_TOKENS = POOLED + WHOLE * PATCHES
ANY_FRAMES_ODDS = 0.3  # of whole frames drawn at random, as in training, instead of those of inference


@dataclass(frozen=True)
class Showing:
    """A clip with the frames of it that are shown."""

    drawn: DrawnClip
    """the clip"""
    pooled: tuple[int, ...]
    """frames shown as one token each"""
    whole: tuple[int, ...]
    """frames shown with all patches"""

    @property
    def things(self) -> tuple[Thing, ...]:
        """The things of the clip."""
        return self.drawn.clip.things

    @cached_property
    def filled(self) -> NDArray[np.float32]:
        """Share of each visual token that each thing fills: [V, things]; pooled frames show nothing in particular."""
        filled: NDArray[np.float32] = np.sum(self.by_frame, axis=0, dtype=np.float32)
        return filled

    @cached_property
    def by_frame(self) -> tuple[NDArray[np.float32], ...]:
        """`filled` of each whole frame alone."""
        return tuple(self._in_frame(number) for number in range(WHOLE))

    def spots(self) -> list[tuple[str, str]]:
        """The cells of each thing in the first and in the last whole frame."""
        return list(zip(*(self.drawn.spots[self.whole[end]] for end in (0, -1)), strict=True))

    def _in_frame(self, number: int) -> NDArray[np.float32]:
        shares = np.zeros((VISUAL_TOKENS, len(self.things)), dtype=np.float32)
        first = POOLED + number * PATCHES
        shares[first : first + PATCHES] = self.drawn.filled[self.whole[number]]
        return shares


def showing(drawn: DrawnClip, rng: np.random.Generator | None = None) -> Showing:
    """The clip as it is shown at inference, or with a generator now and then as in training."""
    frames = len(drawn.pictures)
    pooled, whole = (images.frames for images in sparse_and_dense(frames))
    if rng is not None and rng.random() < ANY_FRAMES_ODDS:
        whole = tuple(sorted(rng.choice(frames, WHOLE, replace=False).tolist()))
        pooled = tuple(stretched(frames, POOLED))
    return Showing(drawn, tuple(pooled), tuple(whole))


def seen_patches(shown: Showing, number: int) -> list[tuple[int, int]]:
    """The visual tokens of a whole frame that show a thing, each with that thing."""
    filled = shown.drawn.filled[shown.whole[number]]
    patches = np.flatnonzero(filled.max(1) >= LEAST_SHARE)
    first = POOLED + number * PATCHES
    return [(first + int(patch), int(filled[patch].argmax())) for patch in patches]


def clip_features(llava: torch.nn.Module, rows: Sequence[Showing]) -> Tensor:
    """Tower features of the visual tokens: [N, V, vision width]; with a gradient through whole frames alone."""
    whole = vision_features(llava, np.concatenate([row.drawn.pictures[list(row.whole)] for row in rows]))
    others = [sorted(set(row.pooled) - set(row.whole)) for row in rows]
    with torch.no_grad():
        pictures = [row.drawn.pictures[frames] for row, frames in zip(rows, others, strict=True)]
        means = vision_features(llava, np.concatenate(pictures)).mean(1).split([len(one) for one in pictures])
    features = []
    for row, frames, own, mean in zip(
        rows, others, whole.unflatten(0, (len(rows), WHOLE)), means, strict=True
    ):
        found = dict(zip((*row.whole, *frames), (*own.detach().mean(1), *mean), strict=True))
        features.append(torch.cat([torch.stack([found[frame] for frame in row.pooled]), own.flatten(0, 1)]))
    return torch.stack(features)


def glimpsed(llava: torch.nn.Module, rows: Sequence[Showing]) -> Tensor:
    """`clip_features` of whole frames alone, the nearest of which stands for each of the pooled ones: a quarter of the work."""
    whole = vision_features(llava, np.concatenate([row.drawn.pictures[list(row.whole)] for row in rows]))
    features = []
    for row, own in zip(rows, whole.unflatten(0, (len(rows), WHOLE)), strict=True):
        nearest = np.abs(np.subtract.outer(row.pooled, row.whole)).argmin(1)
        features.append(torch.cat([own.mean(1)[nearest], own.flatten(0, 1)]))
    return torch.stack(features)
