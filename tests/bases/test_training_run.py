"""The training loop of the bases: one warm-up and one cosine, shortened by the clock, and resumable."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seglm.bases.training_run import Progress, RunSettings, rate, share_at, train

STOPS = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("share, want", [(0.0, 0.005), (0.01, 0.505), (0.02, 1.0), (0.51, 0.51), (1.0, 0.02)])
def test_the_rate_warms_up_and_falls_along_one_cosine(share: float, want: float) -> None:
    assert rate(share) == pytest.approx(want, abs=0.01)


@pytest.mark.parametrize(
    "step, seconds, want",
    [
        (10, 9999.0, 0.01),  # too early to judge the speed
        (500, 300.0, 0.5),  # on time: by steps
        (500, 1200.0, 2 / 3),  # would need 40 of 30 minutes: by the clock
        (900, 1800.0, 1.0),  # the time is over
    ],
)
def test_progress_is_by_steps_unless_the_time_would_not_suffice(
    step: int, seconds: float, want: float
) -> None:
    settings = RunSettings(steps=1000, minutes=30, lr=1e-3)
    assert share_at(Progress(step=step, seconds=seconds), settings) == pytest.approx(want)


def test_a_run_that_was_cut_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", at_seven=broken_off)
    assert torch.equal(run(tmp_path / "cut"), whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_after_the_step(tmp_path: Path, number: signal.Signals) -> None:
    whole, handlers = run(tmp_path / "whole"), [signal.getsignal(one) for one in STOPS]
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "asked", at_seven=lambda: signal.raise_signal(number))
    assert stopped.value.code == 128 + number and handlers == [signal.getsignal(one) for one in STOPS]
    saved = torch.load(tmp_path / "asked" / "line.pt", weights_only=True)
    assert saved["progress"]["step"] == 8
    assert torch.equal(run(tmp_path / "asked"), whole)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, at_seven=lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    saved = torch.load(tmp_path / "line.pt", weights_only=True)
    assert saved["progress"]["step"] == 5


def broken_off() -> None:
    raise KeyboardInterrupt


def run(folder: Path, *, at_seven: Callable[[], object] | None = None) -> torch.Tensor:
    """The weights after ten steps, the eighth of which begins with `at_seven`."""
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 1)

    def step(number: int, share: float) -> tuple[torch.Tensor, dict[str, float]]:
        if at_seven is not None and number == 7:
            at_seven()
        x = torch.full((4, 3), float(number % 3))
        return module(x).sub(2.0).square().mean(), {}

    settings = RunSettings(steps=10, minutes=10, lr=1e-2, save_every=5, log_every=5)
    train(module, step, settings, folder=folder, name="line", saved=lambda module, progress: None)
    return module.weight.detach().clone()
