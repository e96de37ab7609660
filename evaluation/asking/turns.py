"""The windows of walks, several at once, also where a question repeats what was answered in the windows before it.

Such a window can be asked before those answers are known: they are taken to be the last one that is. What was said counts only if
they then turn out so, else it is asked again; so nothing differs from asking one window after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from seglm.utils.answers import Spoken
from seglm.utils.types import Sample, Window

Answered = tuple[tuple[str, ...], ...]
"""see `Clip.answered`"""


@dataclass(frozen=True)
class Seat:
    """A window, and whose it is."""

    sample: int
    number: int
    """of the window in the walk"""
    window: Window


Walk = Callable[[int], Iterator[Window]]
"""number of frames -> how a sample is gone through (`Recipe.walk`)"""
Say = Callable[[Sequence[tuple[Seat, Answered]]], list[list[Spoken]]]
"""windows with what was answered before them -> what is said in each, to each target"""


def lots(walk: Walk, samples: Sequence[Sample], *, most: int) -> Iterator[list[Seat]]:
    """What the LLM is asked at once.

    The first windows of all samples, and behind them their second ones and so on as long as no more than `most` frames are shown,
    or dialogues held where windows repeat others and show the same frames; then those that follow.
    """
    lot: list[Seat] = []
    for number, windows in enumerate(zip_longest(*(walk(sample.num_frames) for sample in samples))):
        fresh = [Seat(sample, number, window) for sample, window in enumerate(windows) if window is not None]
        if lot and sum(_weight(seat, samples) for seat in (*lot, *fresh)) > most:
            yield lot
            lot = []
        lot += fresh
    if lot:
        yield lot


def _weight(seat: Seat, samples: Sequence[Sample]) -> int:
    return max(1, len(samples[seat.sample].targets)) if seat.window.repeats else len(seat.window.seen)


def told(lots: Iterable[list[Seat]], say: Say) -> Iterator[tuple[Seat, list[Spoken]]]:
    """Every window with what is said in it, those of a sample in order."""
    texts: defaultdict[int, list[tuple[str, ...]]] = defaultdict(list)  # sample -> window -> text by target
    for lot in lots:
        left = lot
        while left:
            asked = [seat for seat in left if not seat.window.repeats or texts[seat.sample]]
            taken = {seat: _answered(texts[seat.sample], seat) for seat in asked}
            said = dict(zip(asked, say(list(taken.items())), strict=True))
            again: list[Seat] = []
            for seat in left:
                known = texts[seat.sample]
                is_next = len(known) == seat.number and seat in said
                if not is_next or taken[seat] != _answered(known, seat):
                    again.append(seat)
                    continue
                known.append(tuple(one.text or "".join(one.tokens) for one in said[seat]))
                yield seat, said[seat]
            left = again


def _answered(known: Sequence[tuple[str, ...]], seat: Seat) -> Answered:
    """For each target the answers before a window; one that is not known yet is taken to be the last that is."""
    if not seat.window.repeats:
        return ()
    before = [
        known[min(number, len(known) - 1)] for number in range(seat.number - seat.window.repeats, seat.number)
    ]
    return tuple(zip(*before, strict=True))
