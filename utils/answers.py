"""What comes out of a model: the parts of a loss, and answers in words and in masks.

Axis letters: S slots, M frames in which masks are drawn, H W original pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


NOTHING_DRAWN = -1e4
"""The logit of every pixel of a slot that was rejected."""
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
class Answer:
    """What the model says to one dialogue."""

    text: str
    """decoded with slots visible, end token removed"""
    ids: tuple[int, ...]
    """generated (or forced) answer ids, end token included if it was written"""
    status: Status
    masks: Tensor
    """float32 [S, M, H, W], logits at the original size, one for each slot that speaks of a target and each drawn frame; S may be
    0. A rejected slot draws nothing: all its logits are NOTHING_DRAWN, unless the protocol decodes it nonetheless"""
    tokens: tuple[str, ...] = ()
    """the token of each of these slots, `[SEG]` or `[REJ]`"""
    scores: tuple[float, ...] = field(default=())
    """for each slot the decoder's own estimate of IoU in the first drawn frame; 0 where nothing was drawn"""
    keywords: tuple[str, ...] = ()
    """for each slot the words that the model wrote behind its `[KEY]`; empty for a system that has no such token"""


def status_of(tokens: Sequence[str], rejects: str) -> Status:
    """The status of an answer to a request for masks, by its slots; rejects: the recipe's `reject_token`, may be empty."""
    if not tokens:
        return "no_seg_token"
    return "rejected" if all(token == rejects for token in tokens) else "ok"
