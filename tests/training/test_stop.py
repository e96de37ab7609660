"""Signals: the first one saves and stops, Ctrl-C again stops at once; what a launcher sends after it changes nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from seglm.training import saves, stop
from seglm.training.curve import read
from seglm.training.stop import Stopped, StopRequest
from tests.training.processes import run_ranks
from tests.training.test_trainer import numbers

pytestmark = pytest.mark.timeout(900)
TERM, USR1, INT = stop.SIGNALS[0], stop.SIGNALS[1], stop.SIGNALS[2]


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", stop.SIGNALS)
def test_a_signal_only_asks(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    with StopRequest() as request:
        assert request.asked is None
        send(number)
        assert request.asked is number
    assert signal.getsignal(number) is before
    assert f"{number.name}: the step is finished and saved first; Ctrl-C (again)" in capfd.readouterr().err


@pytest.mark.parametrize(
    "sent", [(INT, TERM), (TERM, TERM), (USR1, TERM), (TERM, INT)], ids=lambda sent: str([*map(int, sent)])
)
def test_what_a_launcher_sends_as_well_is_no_second_time(sent: tuple[int, ...]) -> None:
    with StopRequest() as request:
        send(*sent)
        assert request.asked == sent[0]


def test_ctrl_c_counts_again_when_its_echo_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopRequest():
        send(INT, INT)
        monkeypatch.setattr(stop, "ECHO", -1.0)
        with pytest.raises(KeyboardInterrupt):
            send(INT)


def test_what_a_resumed_run_does_again_is_left_at_once() -> None:
    with StopRequest() as request:
        with pytest.raises(Stopped), request.breaks_off():
            send(TERM, TERM)
        with pytest.raises(Stopped), request.breaks_off():
            raise AssertionError("it was asked before it began")


@pytest.mark.parametrize("number", [TERM, USR1, INT])
def test_a_signal_in_a_step_saves_that_step_and_the_run_goes_on_to_the_bit(
    number: int, straight: Path, tmp_path: Path
) -> None:
    """Sample 17 belongs to step 3 of 12 (8 images a step); its batch comes from rank 0 alone."""
    run = tmp_path / "run"
    ended = run_ranks(tmp_path, 2, run, "signal_at=17", f"signal={number}").result
    assert (ended["finished"], ended["stopped"]) == (False, number)
    last = saves.newest(run)
    assert last is not None and last.step == 3
    run_ranks(tmp_path, 2, run, "resume=1").result  # noqa: B018
    assert numbers(run) == numbers(straight)


def test_a_signal_in_a_validation_leaves_it_and_a_resumed_run_makes_up_for_it(
    straight: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ended = run_ranks(tmp_path, 1, run, f"signal_in_validation={int(TERM)}").result
    assert (ended["steps"], ended["stopped"]) == (4, TERM)
    assert not read(run / "scores.csv")
    run_ranks(tmp_path, 1, run, "resume=1").result  # noqa: B018
    assert [row["step"] for row in read(run / "scores.csv")] == [4, 8, 12]


def test_a_signal_in_the_last_validation_is_no_end(tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ("epochs=1", "per_epoch=2", f"signal_in_validation={int(TERM)}")
    assert not run_ranks(tmp_path, 1, run, *settings).result["finished"]
    assert run_ranks(tmp_path, 1, run, "epochs=1", "per_epoch=2", "resume=1").result["finished"]
    assert [row["step"] for row in read(run / "scores.csv")] == [2]
