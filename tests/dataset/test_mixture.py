"""Which sample comes next is a pure function of (seed, number), by the rates that were asked for."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import pytest

from seglm.dataset.mixture import LOOK, Mixture, Passes, names, phases, rng_of


@dataclass(frozen=True)
class Fake:
    name: str
    family: str
    size: int

    def __len__(self) -> int:
        return self.size

    def length(self, index: int) -> int:
        return 7 * index % 100


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


def test_a_family_that_joins_later_is_drawn_from_there_on_and_the_others_as_their_rates_say() -> None:
    rates = {"sem_seg": 1.0, "refer_seg": 1.0, "vqa": 2.0}
    mixture = Mixture(SOURCES, rates, seed=1, joins={"vqa": 0.25, "elsewhere": 0.9}, samples=16000)
    before = Counter(mixture.draw(number)[0] for number in range(4000))
    after = Counter(mixture.draw(number)[0] for number in range(4000, 16000))
    assert [before[source] / 4000 for source in range(4)] == pytest.approx([0.25, 0.25, 0.5, 0], abs=0.03)
    assert [after[source] / 12000 for source in range(4)] == pytest.approx(
        [1 / 8, 1 / 8, 1 / 4, 1 / 2], abs=0.02
    )
    plain = Mixture(SOURCES, rates, seed=1)
    assert all(mixture.draw(number) == plain.draw(number) for number in range(4000, 4200))


def test_where_all_would_join_later_the_first_of_them_are_there_from_the_start() -> None:
    rates = {"sem_seg": 1.0, "refer_seg": 2.0, "vqa": 0.0}
    first = (0.0, 0.5, {"sem_seg": 1.0, "refer_seg": 0.0, "vqa": 0.0})
    assert phases(rates, {"sem_seg": 0.1, "refer_seg": 0.5}) == (first, (0.5, 1.0, rates))
    assert phases(rates, {}) == ((0.0, 1.0, rates),)


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


# ---- passes ---------------------------------------------------------------------------------------------------------
REPEATS = {"sem_seg": 1, "refer_seg": 10, "vqa": 4}
PASS = 10 + 1000 + 10 * 7 + 4 * 3


@pytest.mark.parametrize("group", [0, 16, 64, 7])
def test_a_pass_takes_every_sample_as_often_as_its_rate_says(group: int) -> None:
    """Counted over three passes; Sa2VA's sampler leaves out as many samples at the end as repeats are not in its lengths."""
    order = Passes(SOURCES, REPEATS, seed=3, group=group)
    assert order.length == PASS
    counted = Counter(map(order.draw, range(3 * PASS - 3 * PASS % (group or 1))))
    if group == 0:
        for one in range(3):
            counted = Counter(map(order.draw, range(one * PASS, (one + 1) * PASS)))
            assert set(counted) == {
                (number, index) for number, source in enumerate(SOURCES) for index in range(source.size)
            }
            for (source, _), times in counted.items():
                assert times == REPEATS[SOURCES[source].family]
    plain = Passes(SOURCES, REPEATS, seed=3)
    assert counted == Counter(map(plain.draw, range(sum(counted.values())))) or group == 0


def test_a_step_holds_the_same_samples_whether_they_are_sorted_or_not_and_its_batches_are_of_one_length() -> (
    None
):
    sorted_, plain = Passes(SOURCES, REPEATS, seed=3, group=64), Passes(SOURCES, REPEATS, seed=3)
    spread = {"sorted": 0, "plain": 0}
    for step in range(20):
        numbers = range(64 * step, 64 * step + 64)
        by_length, as_it_comes = [sorted_.draw(n) for n in numbers], [plain.draw(n) for n in numbers]
        assert Counter(by_length) == Counter(as_it_comes)
        for name, drawn in (("sorted", by_length), ("plain", as_it_comes)):
            lengths = [SOURCES[source].length(index) for source, index in drawn]
            batches = [lengths[first : first + 8] for first in range(0, 64, 8)]
            spread[name] += sum(max(batch) - min(batch) for batch in batches)
    assert spread["sorted"] < spread["plain"] / 4


def test_passes_are_a_function_of_seed_and_number_and_differ() -> None:
    order = Passes(SOURCES, REPEATS, seed=5, group=16)
    forward = [order.draw(number) for number in range(2 * PASS)]
    again = Passes(SOURCES, REPEATS, seed=5, group=16)
    assert [again.draw(number) for number in reversed(range(2 * PASS))] == forward[::-1]
    assert forward[:PASS] != forward[PASS:]
    assert [Passes(SOURCES, REPEATS, seed=6).draw(number) for number in range(50)] != forward[:50]
    assert len({order.draw(3, attempt) for attempt in range(1, 9)}) > 1


def test_a_rate_of_a_pass_is_a_whole_number() -> None:
    with pytest.raises(ValueError, match=r"sample rates {'sem_seg': 1.5}: .*data.order.*a whole number"):
        Passes(SOURCES, {"sem_seg": 1.5, "refer_seg": 1, "vqa": 1}, seed=0)
    with pytest.raises(ValueError, match="families with a rate but no data set"):
        Passes(SOURCES, {"sem_seg": 1, "refer_seg": 1, "vqa": 1, "video": 1}, seed=0)


def test_the_next_sample_of_a_large_pass_costs_next_to_nothing() -> None:
    order = Passes((Fake("a", "x", 1_000_000),), {"x": 1}, seed=0, group=256)
    order.draw(0)
    begin = time.perf_counter()
    for number in range(2560):
        order.draw(number)
    assert time.perf_counter() - begin < 2
