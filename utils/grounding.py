"""Words and the things they mean: captions whose phrases are masked, and regions that are pointed at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Phrase:
    """Words of a caption that speak of a target."""

    start: int
    """of the first character in `Caption.text`"""
    end: int
    """behind the last character"""
    target: int
    """position in the targets of the sample, and of its clip"""


@dataclass(frozen=True)
class Caption:
    """What is seen, told in words of which some are grounded in masks (grounded conversation, GCG)."""

    text: str
    phrases: tuple[Phrase, ...]
    """in the order of the text; no two overlap"""


@dataclass(frozen=True)
class Region:
    """A thing that is pointed at: its mask is given and not asked for. Turns call the first of a sample `region1`."""

    masks: Callable[[Sequence[int]], NDArray[np.bool_]]
    """frames (indices into the sample) -> bool [T, H, W], original pixels; decoded when called"""
    captions: tuple[str, ...] = ()
    """true descriptions, for which a script asks in its own words; empty where the turns say everything"""
    key: str = ""
    """names the region inside its sample"""
