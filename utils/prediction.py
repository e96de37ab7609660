"""What a question gets as an answer, for whoever asks in Python: words, and for each `[SEG]` in them a mask.

Masks are kept as run lengths, a few kilobytes each, so that a long video's fit into memory; `mask` is the array.
Letters: N segments of an answer, T frames, H W original pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglm.utils import png
from seglm.utils.answers import Answer, Status

Mask = NDArray[np.bool_]
History = tuple[tuple[str, str], ...]
"""(question, answer) of the turns before"""
PHRASE = re.compile(r"<p>((?:(?!</?p>).)*)</p>\s*$", re.DOTALL)
"""what an answer that grounds its words writes before a slot (GLaMM's and Sa2VA's grounded conversations)"""


@dataclass(frozen=True)
class Segment:
    """What one `[SEG]` (or `[REJ]`) of an answer shows in one frame."""

    size: tuple[int, int]
    """(H, W), original pixels"""
    runs: bytes
    """int32 run lengths down the columns, the first of pixels outside (COCO's order)"""
    score: float = 0.0
    """the mask decoder's own estimate of IoU, 0 to 1; 0 where nothing is drawn"""
    is_rejected: bool = False
    """the model says that it is not there; the mask is empty then"""
    is_there: bool | None = None
    """the mask decoder says that it can be seen in this frame, or that it cannot; None: it does not say"""
    phrase: str = ""
    """the words of the answer that it belongs to, where the model marks them: `<p> a red ring </p> [SEG]`"""
    keyword: str = ""
    """what the model wrote behind its `[KEY]` (KeySeg)"""

    @property
    def mask(self) -> Mask:
        """bool [H, W], original pixels, True on the object."""
        runs = self._runs
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return np.ascontiguousarray(flat.reshape(self.size[::-1]).T)

    def rle(self) -> dict[str, Any]:
        """COCO's compressed run lengths, ready for JSON: {"size": [H, W], "counts": text}."""
        from pycocotools import mask as coco

        found = coco.frPyObjects({"size": list(self.size), "counts": self._runs.tolist()}, *self.size)
        return {"size": list(self.size), "counts": found["counts"].decode("ascii")}

    def png(self) -> bytes:
        """A PNG file of 0 and 255, lossless."""
        return png.of_mask(self.mask)

    @property
    def _runs(self) -> NDArray[np.int32]:
        return np.frombuffer(self.runs, dtype=np.int32)


@dataclass(frozen=True)
class FramePrediction:
    """What was said about one picture, or in one frame of a video."""

    frame: int
    """its number; 0 for a picture"""
    text: str
    """the words, slots visible"""
    status: Status
    """why there are masks or none"""
    size: tuple[int, int]
    """(H, W), original pixels"""
    segments: tuple[Segment, ...] = ()
    """one for each slot, in the order of the words"""
    is_cut: bool = False
    """the words end where they do because of the limit on tokens (`max_new_tokens`)"""

    @property
    def masks(self) -> Mask:
        """bool [N, H, W], original pixels."""
        found = [segment.mask for segment in self.segments]
        return np.stack(found) if found else np.zeros((0, *self.size), dtype=np.bool_)

    @property
    def scores(self) -> tuple[float, ...]:
        """The decoder's estimate of IoU for each segment."""
        return tuple(segment.score for segment in self.segments)


@dataclass(frozen=True)
class Prediction:
    """An answer about a picture, or about a whole video."""

    frames: tuple[FramePrediction, ...]
    """in their order; of a picture one, of a question about nothing that is shown none that has a segment"""
    history: History
    """this question and answer behind those before it: give it to the next question"""
    is_video: bool = False

    @cached_property
    def _first(self) -> FramePrediction:
        """Where something is drawn first; else the first frame."""
        return next((frame for frame in self.frames if frame.segments), self.frames[0])

    @property
    def text(self) -> str:
        """The words. Where every frame has its own, those of the first one with a slot."""
        return self._first.text

    @property
    def status(self) -> Status:
        """Why there are masks or none, in the frame of `text`."""
        return self._first.status

    @property
    def is_cut(self) -> bool:
        """The words end where they do because of the limit on tokens (`max_new_tokens`), in the frame of `text`."""
        return self._first.is_cut

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Of a picture everything that was found; of a video that of the frame of `text`."""
        return self._first.segments

    @property
    def masks(self) -> Mask:
        """bool [N, H, W] of a picture, bool [N, T, H, W] of a video; a frame in which there is no N-th slot has an empty mask."""
        if not self.is_video:
            return self._first.masks
        count = max(len(frame.segments) for frame in self.frames)
        found = np.zeros((count, len(self.frames), *self._first.size), dtype=np.bool_)
        for place, frame in enumerate(self.frames):
            for number, segment in enumerate(frame.segments):
                found[number, place] = segment.mask
        return found

    @property
    def scores(self) -> NDArray[np.float32]:
        """float32 [N] or [N, T], the decoder's estimate of IoU, aligned with `masks`; 0 where nothing is drawn."""
        by_slot = list(zip_longest(*(frame.scores for frame in self.frames), fillvalue=0.0))
        found = np.array(by_slot, dtype=np.float32).reshape(-1, len(self.frames))
        return found if self.is_video else found[:, 0]


def seen(frame: int, answer: Answer, size: tuple[int, int]) -> FramePrediction:
    """An answer of the model in a frame of `size`, (H, W): logits above 0 are the mask, as in every score."""
    spoken = answer.spoken
    phrases = phrases_of(spoken.text, spoken.tokens)
    keywords = spoken.keywords or ("",) * len(spoken.tokens)
    masks = [np.zeros(size, np.bool_) if one is None else (one > 0).numpy() for one in answer.masks]
    scores = answer.scores or (0.0,) * len(masks)
    is_there = [logit > 0 for logit in answer.there] or (None,) * len(masks)
    segments = tuple(
        Segment(size, _runs_of(mask), score, logits is None, there, phrase, keyword)
        for mask, logits, score, there, phrase, keyword in zip(
            masks, answer.masks, scores, is_there, phrases, keywords, strict=True
        )
    )
    return FramePrediction(frame, spoken.text, spoken.status, size, segments, spoken.is_cut)


def phrases_of(text: str, tokens: Sequence[str]) -> tuple[str, ...]:
    """For each slot the words between `<p>` and `</p>` right before it; empty where there are none.

    tokens: of the slots, as they stand in the text.
    """
    found, rest = [], text
    for token in tokens:
        before, _, rest = rest.partition(token)
        match = PHRASE.search(before)
        found.append(match[1].strip() if match else "")
    return tuple(found)


def _runs_of(mask: Mask) -> bytes:
    flat = mask.T.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    inside = [0] if flat[0] else []
    return np.diff(np.concatenate(([0], inside, ends, [len(flat)]))).astype(np.int32).tobytes()
