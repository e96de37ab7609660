"""What of an answer is scored: its first slot's mask in the first drawn frame, against the truth of that frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seglm.utils.answers import Answer
from seglm.utils.types import Clip


def mask_of(answer: Answer, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask an answer is scored by, bool [H, W]: its first slot's, logit above 0; all False if it has no slot."""
    if not len(answer.masks):
        return np.zeros(size, dtype=np.bool_)
    mask: NDArray[np.bool_] = (answer.masks[0, 0] > 0).cpu().numpy()
    return mask


def truth_of(shown: Clip, position: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """(true mask, ignored pixels) of a target in the first drawn frame, bool [H, W]."""
    return shown.masks[position][0], None if shown.ignore is None else shown.ignore[0]


def scored_frame(
    shown: Clip, position: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_] | None]:
    """(picture, true mask, ignored pixels) of the same frame, uint8 [H, W, 3] and bool [H, W], for a picture of it.

    Copies: a part of an array keeps the whole alive, and a clip has many frames and the masks of all its targets.
    """
    truth, ignore = truth_of(shown, position)
    return shown.drawn[0].copy(), truth.copy(), None if ignore is None else ignore.copy()


def rejects(answer: Answer, mask: NDArray[np.bool_], *, token: str) -> bool:
    """Whether an answer says that its target is not there.

    mask: bool [H, W], the one that is scored. token: the recipe's `reject_token`. A system that has one must write it; for one
    without, no slot or an empty mask says the same.
    """
    if token:
        return answer.tokens[:1] == (token,)
    return not answer.tokens or not mask.any()
