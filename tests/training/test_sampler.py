from __future__ import annotations

import pytest

from seglm.training.sampler import Feed
from tests.training.tiny import Numbers, NumberSet, collate


def feed(size: int, accumulation: int, ranks: int, rank: int = 0, workers: int = 0) -> Feed[Numbers]:
    return Feed(NumberSet(), collate, size, accumulation, rank, ranks, workers)


def keys(one: Feed[Numbers], first: int, count: int) -> list[list[tuple[str, ...]]]:
    return [[batch.keys for batch in step] for step in one.steps(first, count)]


@pytest.mark.parametrize(
    "size, accumulation, ranks, want",
    [
        (8, 1, 1, [[[0, 1, 2, 3, 4, 5, 6, 7]]]),
        (2, 4, 1, [[[0, 1], [2, 3], [4, 5], [6, 7]]]),
        (4, 1, 2, [[[0, 1, 2, 3]], [[4, 5, 6, 7]]]),
        (2, 2, 2, [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]),
    ],
)
def test_a_step_holds_the_same_samples_however_it_is_dealt_out(
    size: int, accumulation: int, ranks: int, want: list[list[list[int]]]
) -> None:
    assert [feed(size, accumulation, ranks, rank).numbers(0) for rank in range(ranks)] == want


@pytest.mark.parametrize("workers", [1, 2])
def test_the_order_does_not_depend_on_workers(workers: int) -> None:
    assert keys(feed(2, 2, 1, workers=workers), 0, 3) == keys(feed(2, 2, 1), 0, 3)


def test_going_on_in_the_middle_gives_what_would_have_come() -> None:
    one = feed(2, 2, 2, rank=1)
    assert keys(one, 0, 5)[3:] == keys(one, 3 * one.per_step, 2)


class Broken(NumberSet):
    def __getitem__(self, n: int):  # type: ignore[no-untyped-def]
        if n == 5:
            raise ValueError("number/5: malformed")
        return super().__getitem__(n)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_sample_stops_the_run_with_its_key(workers: int) -> None:
    with pytest.raises(ValueError, match="number/5: malformed"):
        list(Feed(Broken(), collate, 2, workers=workers).steps(0, 4))
