"""Saves between the ends of epochs, by steps and by minutes, and what a resumed run may change about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from seglm.training import saves
from tests.training.processes import run_ranks
from tests.training.test_trainer import numbers

pytestmark = pytest.mark.timeout(900)
SIXTH = "signal_at=41"  # a sample of step 6, the second of its epoch: 8 images a step, 4 steps an epoch


def steps(run: Path) -> set[int]:
    """Those of the two saves."""
    found = [saves._read(run / "slots" / name) for name in saves.NAMES]
    return {save.step for save in found if save is not None}


def kept(run: Path) -> list[str]:
    return [path.name for path in (run / "kept").iterdir()]


def test_by_minutes_all_ranks_save_together_and_keep_1_keeps_one(straight: Path, tmp_path: Path) -> None:
    """So few minutes that every step is due; the clock is that of rank 0 alone."""
    run = tmp_path / "run"
    run_ranks(tmp_path, 2, run, "save_minutes=1e-9", "keep=1").result  # noqa: B018
    assert steps(run) == {11, 12} and kept(run) == ["step12"]
    assert numbers(run) == numbers(straight)


def test_a_resumed_run_may_save_more_or_less_often(straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert not run_ranks(tmp_path, 2, run, "save_every=5", "keep=3", SIXTH).result["finished"]
    assert steps(run) == {5, 6} and sorted(kept(run)) == ["step4", "step5", "step6"]
    run_ranks(tmp_path, 2, run, "save_every=7", "keep=1", "resume=1").result  # noqa: B018
    assert steps(run) == {8, 12} and kept(run) == ["step12"]
    assert numbers(run) == numbers(straight)


@pytest.mark.parametrize(
    "zero, sizes",
    [(1, (2, 1)), *(pytest.param(zero, (1, 2), marks=pytest.mark.slow) for zero in (1, 2, 3))],
)
def test_another_number_of_processes_goes_on_in_the_middle_of_an_epoch(
    zero: int, sizes: tuple[int, int], tmp_path: Path
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    settings = (f"zero={zero}", "dropout=0", "print_freq=4")
    run_ranks(tmp_path, 1, whole, *settings).result  # noqa: B018
    assert not run_ranks(tmp_path, sizes[0], run, *settings, SIXTH).result["finished"]
    assert steps(run) == {4, 6}
    ended = run_ranks(tmp_path, sizes[1], run, *settings, "resume=1")
    assert ended.result["finished"] and "a step takes" not in ended.text
    want, got = numbers(whole), numbers(run)
    assert [row["step"] for row in got] == [4, 8, 12]
    assert [row["loss"] for row in got] == pytest.approx([row["loss"] for row in want], rel=1e-5)


def test_a_step_of_fewer_samples_than_before_the_stop_is_said(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_ranks(tmp_path, 1, run, SIXTH).result  # noqa: B018
    ended = run_ranks(tmp_path, 1, run, "images=4", "resume=1")
    assert ended.result["finished"]
    assert "a step takes 4 samples now and took 8 before the stop" in ended.text
