"""Which sample comes next: a pure function of (seed, global sample number); drawn with weights, or each as often as any other.

Nothing is remembered between draws, so a run resumes anywhere at once, and the order depends neither on the number of workers nor
on that of processes: each takes its slice of the numbers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SEPARATORS = re.compile(r"\|\||,")
DRAW, LOOK, SHUFFLE = (
    0,
    1,
    2,
)  # what randomness is for: which sample is drawn, what is made of it, the order of a pass


class Order(Protocol):
    """Which sample a global sample number takes."""

    @property
    def seed(self) -> int: ...

    def draw(self, number: int, attempt: int = 0) -> tuple[int, int]:
        """Global sample number -> (source, sample in it). attempt: for samples that hold nothing to ask for, the next draw."""
        ...


class Sized(Protocol):
    """As much of a source as has to be known here."""

    @property
    def name(self) -> str: ...

    @property
    def family(self) -> str: ...

    def __len__(self) -> int: ...


class Measured(Sized, Protocol):
    def length(self, index: int) -> int:
        """About how long a sample is, so that some of one length may share a batch; nothing is opened to tell."""
        ...


def names(text: str) -> tuple[str, ...]:
    """`"sem_seg||refer_seg"` or `"sem_seg,refer_seg"` -> the names; the originals use the one or the other."""
    return tuple(name.strip() for name in SEPARATORS.split(text) if name.strip())


def rng_of(seed: int, number: int, purpose: int, attempt: int = 0) -> np.random.Generator:
    """The generator of a sample number for one purpose; counter-based, so that none has to be run through to reach another."""
    return np.random.Generator(np.random.Philox(key=[seed, number], counter=[0, 0, purpose, attempt]))


def phases(
    rates: Mapping[str, float], joins: Mapping[str, float]
) -> tuple[tuple[float, float, Mapping[str, float]], ...]:
    """(begin, end, rates) for each part of a run in which the mixture is another one; the run goes from 0 to 1.

    joins: family -> share of the run that goes by before it is drawn from; the others are there from the start, and if there are
    none, the first that would join. What is no family of the mixture does not matter.
    """
    joined = sorted({joins.get(family, 0.0) for family, rate in rates.items() if rate})
    return tuple(
        (begin, end, {family: rate * (joins.get(family, 0.0) <= last) for family, rate in rates.items()})
        for begin, end, last in zip([0.0, *joined[1:]], [*joined[1:], 1.0], joined, strict=True)
    )


class Mixture:
    """A family by its rate, a data set of the family evenly, a sample of the data set evenly: LISA's draw, but seeded.

    joins: as in `phases`, of a run of `samples` samples.
    ahead: how many samples more than that the run took in its steps so far; fewer are negative.
    Raises ValueError if rates and sources do not fit together.
    """

    def __init__(
        self,
        sources: Sequence[Sized],
        rates: Mapping[str, float],
        seed: int,
        *,
        joins: Mapping[str, float] = MappingProxyType({}),
        samples: int = 0,
        ahead: int = 0,
    ) -> None:
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
        self.phases = tuple(
            (
                int(begin * samples) + ahead if begin else 0,
                np.array([part / sum(now.values()) for part in accumulate(now.values())]),
            )
            for begin, _, now in phases(rates, joins)
        )
        """(first sample number, the families' shares added up)"""

    def draw(self, number: int, attempt: int = 0) -> tuple[int, int]:
        """Global sample number -> (source, sample in it). attempt: for samples that hold nothing to ask for, the next draw."""
        rng = rng_of(self.seed, number, DRAW, attempt)
        upto = next(shares for first, shares in reversed(self.phases) if number >= first)
        family = int(np.searchsorted(upto, rng.random(), side="right"))
        members = self.members[min(family, len(self.members) - 1)]
        source = members[int(rng.integers(len(members)))]
        return source, int(rng.integers(self.sizes[source]))


class Passes:
    """Passes over all samples: in each of them a sample is taken as often as the rate of its family says, in a new order.

    Where lengths are given, the numbers are looked at in groups of an optimizer step: inside a group the longest come first, so
    that those of a micro-batch are about equally long. A step holds the same samples with and without lengths. xtuner's sampler,
    which Sa2VA uses, sorts larger groups, and numbers samples by a list of lengths that is shorter than the data are where some
    are repeated: the last ones are never drawn (projects/llava_sam2/datasets/ReVOS_Dataset.py:190-203 of magic-research/Sa2VA).
    first: the number at which a group begins, and others before and behind it.
    Raises ValueError for a rate that is no whole number, and for families as `Mixture`.
    """

    def __init__(
        self,
        sources: Sequence[Measured],
        rates: Mapping[str, float],
        seed: int,
        *,
        group: int = 0,
        first: int = 0,
    ) -> None:
        Mixture(sources, rates, seed)  # its checks
        if wrong := {family: rate for family, rate in rates.items() if rate != int(rate)}:
            raise ValueError(
                f"sample rates {wrong}: where every sample is taken (data.order), a rate is how often in a pass, a whole number"
            )
        self.seed = seed
        self.sources = sources
        self.group = group
        """numbers inside which samples are sorted by length; 0 leaves them as they come"""
        self.first = first
        self.sizes = tuple(len(source) for source in sources)
        counts = [int(rates[source.family]) * len(source) for source in sources]
        self.upto = np.cumsum(counts)
        self.length = int(self.upto[-1])
        """samples of a pass"""
        self._orders: dict[int, NDArray[np.uint32]] = {}
        self._groups: dict[int, list[int]] = {}

    def draw(self, number: int, attempt: int = 0) -> tuple[int, int]:
        """See `Order`. A further attempt draws among all samples: the one that it replaces can ask for nothing, in any pass."""
        if attempt:
            return self._entry(int(rng_of(self.seed, number, DRAW, attempt).integers(self.length)))
        if not self.group:
            return self._at(number)
        block, place = divmod(number - self.first, self.group)
        if block not in self._groups:
            first = self.first + block * self.group
            numbers = range(first, first + self.group)
            # sorted() keeps what is equally long as it comes
            self._groups = {block: sorted(numbers, key=lambda one: -self._long(one))}
        return self._at(self._groups[block][place])

    def _at(self, number: int) -> tuple[int, int]:
        number_of_pass, place = divmod(number, self.length)
        if number_of_pass not in self._orders:
            rng = rng_of(self.seed, number_of_pass, SHUFFLE)
            order = rng.permutation(np.arange(self.length, dtype=np.uint32))
            earlier = {one: order for one, order in self._orders.items() if one == number_of_pass - 1}
            self._orders = {**earlier, number_of_pass: order}
        return self._entry(int(self._orders[number_of_pass][place]))

    def _entry(self, place: int) -> tuple[int, int]:
        source = int(np.searchsorted(self.upto, place, side="right"))
        return source, (place - (int(self.upto[source - 1]) if source else 0)) % self.sizes[source]

    def _long(self, number: int) -> int:
        source, index = self._at(number)
        return self.sources[source].length(index)
