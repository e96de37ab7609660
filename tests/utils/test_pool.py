"""Many items at a time: what comes out is in their order, and an error comes out where its item would have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from seglm.utils.pool import in_processes, in_threads


def square(number: int) -> tuple[int, int]:
    if number == 13:
        raise ValueError("13 is not squared")
    return number**2, os.getpid()


def numbers(found: Iterator[tuple[int, int]]) -> list[int]:
    return [value for value, _ in found]


@pytest.mark.parametrize("processes", [1, 2, 40, None])
def test_results_come_in_the_order_of_items(processes: int | None) -> None:
    assert numbers(in_processes(square, range(9), processes=processes)) == [n**2 for n in range(9)]
    assert numbers(in_threads(square, range(9))) == [n**2 for n in range(9)]
    assert numbers(in_processes(square, [], processes=processes)) == []


def test_few_items_are_done_here_and_many_by_others() -> None:
    here = os.getpid()
    assert {process for _, process in in_processes(square, range(3))} == {here}
    others = {process for _, process in in_processes(square, range(12), processes=2)}
    assert here not in others and len(others) <= 2


@pytest.mark.parametrize("many", [in_threads, partial(in_processes, processes=2)])
def test_an_error_comes_where_its_item_would_have(many: Callable[..., Iterator[Any]]) -> None:
    found = many(square, [1, 2, 13, 4])
    assert [next(found)[0], next(found)[0]] == [1, 4]
    with pytest.raises(ValueError, match="13 is not squared"):
        next(found)
