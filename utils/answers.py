"""What comes out of a model: the parts of a loss, and answers in words and in masks.

Letters: P prompt vectors of a slot, C their width, H W original pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


Status = Literal["ok", "rejected", "no_seg_token", "not_asked"]
"""Why an answer has masks or none: `rejected` means the model says that what was asked for is not there, `no_seg_token` that a
mask was asked for and the model wrote none."""


@dataclass(frozen=True)
class Part:
    """One loss term of one micro-batch before normalisation."""

    sum: Tensor
    """float32 [], sum over what is counted"""
    count: int
    """over how many tokens or masks; known on the host"""


@dataclass(frozen=True)
class Output:
    """What a training forward returns."""

    loss: Tensor
    """float32 [], weighted, normalised, ready for backward"""
    parts: dict[str, Part]
    """unweighted, by term name"""


@dataclass(frozen=True)
class Spoken:
    """What a model says to one dialogue: a few kilobytes, however long the video is in which it is drawn."""

    text: str
    """decoded with slots visible, end token removed; empty where the answer was given"""
    ids: tuple[int, ...]
    """generated answer ids, end token included if it was written"""
    status: Status
    tokens: tuple[str, ...] = ()
    """of each slot that speaks of a target, `[SEG]` or `[REJ]`"""
    prompts: tuple[Tensor | None, ...] = ()
    """for each of these slots float32 [P, C], what the mask decoder is asked; None where nothing is drawn"""
    keywords: tuple[str, ...] = ()
    """for each slot the words that the model wrote behind its `[KEY]`; empty for a system that has no such token"""
    values: tuple[float, ...] = ()
    """for each slot the number that is read there; empty for a system that scores nothing"""
    is_cut: bool = False
    """more would have been written, but for the limit on tokens"""


@dataclass(frozen=True)
class Answer:
    """What was said to one dialogue, and what that is in one frame."""

    spoken: Spoken
    masks: tuple[Tensor | None, ...] = ()
    """for each slot float32 [H, W] on the CPU, logits at the original size; None where nothing is drawn"""
    scores: tuple[float, ...] = ()
    """for each slot the decoder's own estimate of IoU; 0 where nothing is drawn"""
    there: tuple[float, ...] = ()
    """for each slot the decoder's logit that it can be seen in this frame: above 0 it can; empty where no decoder says so"""


@dataclass(frozen=True)
class Drawn:
    """One frame with everything that was asked for in it."""

    sample: int
    """position among the samples that were asked about together"""
    frame: int
    """index into the sample"""
    answers: tuple[Answer, ...]
    """one for each target, in their order; for a typed question one"""


def status_of(tokens: Sequence[str], rejects: str) -> Status:
    """The status of an answer to a request for masks, by its slots; rejects: the recipe's `reject_token`, may be empty."""
    if not tokens:
        return "no_seg_token"
    return "rejected" if all(token == rejects for token in tokens) else "ok"
