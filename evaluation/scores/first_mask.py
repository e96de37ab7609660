"""What of an answer is scored: its first slot's mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seglm.utils.answers import Answer

Mask = NDArray[np.bool_]


def mask_of(answer: Answer, size: tuple[int, int]) -> Mask:
    """The mask an answer is scored by, bool [H, W]: its first slot's, logit above 0; all False if nothing is drawn."""
    if not answer.masks or answer.masks[0] is None:
        return np.zeros(size, dtype=np.bool_)
    mask: Mask = (answer.masks[0] > 0).numpy()
    return mask


def rejects(answer: Answer, mask: NDArray[np.bool_], *, token: str) -> bool:
    """Whether an answer says that its target is not there.

    mask: bool [H, W], the one that is scored. token: the recipe's `reject_token`. A system that has one must write it; for one
    without, no slot or an empty mask says the same.
    """
    if token:
        return answer.spoken.tokens[:1] == (token,)
    return not answer.spoken.tokens or not mask.any()
