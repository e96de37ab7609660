from __future__ import annotations

import pytest

from seglm.training.plan import Plan, SaveEvery
from seglm.utils.cli import read


@pytest.mark.parametrize(
    ("command", "want"),
    [
        ([], SaveEvery()),
        (["--save_every", "500"], SaveEvery(steps=500)),
        (["--save_every=20m"], SaveEvery(minutes=20)),
    ],
)
def test_how_often_a_command_saves(command: list[str], want: SaveEvery) -> None:
    assert SaveEvery.of(read(command).save_every) == want


@pytest.mark.parametrize(
    "text", ["0", "-5", "20 m", "m", "0m", "1.5", "20s", "nan", "inf", "9" * 5000, "\u0665"]
)
def test_what_is_neither_steps_nor_minutes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"--save_every=.*: permitted are steps \(500\) or minutes \(20m\)"):
        read(["--save_every", text])


def test_how_many_are_kept() -> None:
    assert read(["--keep", "3"]).keep == 3
    with pytest.raises(ValueError, match="--keep=-1: permitted are numbers from 0"):
        read(["--keep=-1"])


@pytest.mark.parametrize(
    ("every", "minutes", "want"),
    [
        (SaveEvery(), 1e9, [4, 8]),
        (SaveEvery(steps=3), 0, [3, 4, 6, 8]),
        (SaveEvery(steps=9), 0, [4, 8]),
        (SaveEvery(minutes=20), 19.9, [4, 8]),
        (SaveEvery(minutes=20), 20, [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
    ids=str,
)
def test_when_a_run_saves(every: SaveEvery, minutes: float, want: list[int]) -> None:
    plan = Plan(epochs=2, steps_per_epoch=4, seed=0, save_every=every)
    assert [step for step in range(1, 9) if plan.saves(step, minutes=minutes)] == want
