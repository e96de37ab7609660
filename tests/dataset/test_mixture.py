"""Which sample comes next is a pure function of (seed, number), by the rates that were asked for."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import pytest

from seglm.dataset.mixture import LOOK, Mixture, names, rng_of


@dataclass(frozen=True)
class Fake:
    name: str
    family: str
    size: int

    def __len__(self) -> int:
        return self.size


SOURCES = (
    Fake("a", "sem_seg", 10),
    Fake("b", "sem_seg", 1000),
    Fake("c", "refer_seg", 7),
    Fake("d", "vqa", 3),
)
RATES = {"sem_seg": 9.0, "refer_seg": 3.0, "vqa": 0.0}


@pytest.mark.parametrize(
    "text, want",
    [
        ("sem_seg||refer_seg||vqa", ("sem_seg", "refer_seg", "vqa")),
        ("sem_seg,refer_seg", ("sem_seg", "refer_seg")),
        (" refcoco || refcoco+ ", ("refcoco", "refcoco+")),
        ("ReasonSeg|train", ("ReasonSeg|train",)),
        ("", ()),
    ],
)
def test_lists_are_split_at_double_bars_and_commas(text: str, want: tuple[str, ...]) -> None:
    assert names(text) == want


def test_families_come_by_their_rates_and_their_data_sets_evenly() -> None:
    mixture = Mixture(SOURCES, RATES, seed=1)
    count = 8000
    drawn = Counter(mixture.draw(number)[0] for number in range(count))
    shares = [drawn[number] / count for number in range(4)]
    assert shares == pytest.approx([9 / 24, 9 / 24, 3 / 12, 0], abs=0.02)


def test_every_sample_of_a_data_set_is_drawn() -> None:
    mixture = Mixture(SOURCES, RATES, seed=1)
    drawn = {mixture.draw(number) for number in range(3000)}
    assert {index for source, index in drawn if source == 0} == set(range(10))


def test_a_draw_depends_on_seed_and_number_alone() -> None:
    once, again = Mixture(SOURCES, RATES, seed=5), Mixture(SOURCES, RATES, seed=5)
    forward = [once.draw(number) for number in range(200)]
    assert [again.draw(number) for number in reversed(range(200))] == forward[::-1]
    assert [Mixture(SOURCES, RATES, seed=6).draw(number) for number in range(200)] != forward


def test_the_draw_of_sample_900000_costs_no_more_than_the_first() -> None:
    mixture = Mixture(SOURCES, RATES, seed=5)
    began = time.process_time()
    mixture.draw(900_000)
    assert time.process_time() - began < 0.1


def test_randomness_for_two_purposes_numbers_or_attempts_is_independent() -> None:
    generators = (
        rng_of(0, 1, 0),
        rng_of(0, 1, LOOK),
        rng_of(0, 2, 0),
        rng_of(1, 1, 0),
        rng_of(0, 1, 0, attempt=1),
    )
    assert len({generator.random() for generator in generators}) == len(generators)


@pytest.mark.parametrize(
    "sources, rates, message",
    [
        (SOURCES, {"sem_seg": 1.0}, "no rate: .'refer_seg', 'vqa'."),
        (SOURCES[:2], {"sem_seg": 1.0, "vqa": 1.0}, "no data set: .'vqa'."),
        (SOURCES[:2], {"sem_seg": -1.0}, "not negative"),
        ((Fake("empty", "sem_seg", 0),), {"sem_seg": 1.0}, "empty: no sample"),
    ],
)
def test_rates_that_do_not_fit_are_refused(
    sources: tuple[Fake, ...], rates: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(sources, rates, seed=0)
