"""Which sample comes next: a pure function of (seed, global sample number).

Nothing is remembered between draws, so a run resumes anywhere at once, and the order depends neither on the number of workers nor
on that of processes: each takes its slice of the numbers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np

SEPARATORS = re.compile(r"\|\||,")
DRAW, LOOK = 0, 1  # what randomness is for: which sample is drawn, and what is made of it


class Sized(Protocol):
    """As much of a source as has to be known here."""

    @property
    def name(self) -> str: ...

    @property
    def family(self) -> str: ...

    def __len__(self) -> int: ...


def names(text: str) -> tuple[str, ...]:
    """`"sem_seg||refer_seg"` or `"sem_seg,refer_seg"` -> the names; the originals use the one or the other."""
    return tuple(name.strip() for name in SEPARATORS.split(text) if name.strip())


def rng_of(seed: int, number: int, purpose: int, attempt: int = 0) -> np.random.Generator:
    """The generator of a sample number for one purpose; counter-based, so that none has to be run through to reach another."""
    return np.random.Generator(np.random.Philox(key=[seed, number], counter=[0, 0, purpose, attempt]))


class Mixture:
    """A family by its rate, a data set of the family evenly, a sample of the data set evenly: LISA's draw, but seeded.

    Raises ValueError if rates and sources do not fit together.
    """

    def __init__(self, sources: Sequence[Sized], rates: Mapping[str, float], seed: int) -> None:
        self.seed = seed
        self.sizes = tuple(len(source) for source in sources)
        members: defaultdict[str, list[int]] = defaultdict(list)
        for number, source in enumerate(sources):
            members[source.family].append(number)
            if not len(source):
                raise ValueError(f"{source.name}: no sample to draw; leave it out of the mixture")
        self.families = tuple(rates)
        missing = [family for family in self.families if family not in members]
        extra = [family for family in members if family not in rates]
        if missing or extra:
            raise ValueError(
                f"families with a rate but no data set: {missing}; with data sets but no rate: {extra}; "
                "give --dataset and --sample_rates one entry for each family"
            )
        if not rates or min(rates.values()) < 0 or sum(rates.values()) <= 0:
            raise ValueError(f"sample rates {dict(rates)}: they are not negative, and one is larger than 0")
        self.members = tuple(tuple(members[family]) for family in self.families)
        total = sum(rates.values())
        self.upto = np.array([part / total for part in accumulate(rates.values())])

    def draw(self, number: int, attempt: int = 0) -> tuple[int, int]:
        """Global sample number -> (source, sample in it). attempt: for samples that hold nothing to ask for, the next draw."""
        rng = rng_of(self.seed, number, DRAW, attempt)
        family = int(np.searchsorted(self.upto, rng.random(), side="right"))
        members = self.members[min(family, len(self.members) - 1)]
        source = members[int(rng.integers(len(members)))]
        return source, int(rng.integers(self.sizes[source]))
