"""The training loop of the bases: one warm-up and one cosine, shortened by the clock, and resumable."""

from pathlib import Path

import pytest
import torch

from seglm.bases.training_run import Progress, RunSettings, rate, share_at, train


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
    def run(folder: Path, *, stops: bool) -> torch.Tensor:
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 1)

        def step(number: int, share: float) -> tuple[torch.Tensor, dict[str, float]]:
            if stops and number == 7:
                raise KeyboardInterrupt
            x = torch.full((4, 3), float(number % 3))
            return module(x).sub(2.0).square().mean(), {}

        settings = RunSettings(steps=10, minutes=10, lr=1e-2, save_every=5, log_every=5)
        train(module, step, settings, folder=folder, name="line", saved=lambda module, progress: None)
        return module.weight.detach().clone()

    whole = run(tmp_path / "whole", stops=False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stops=True)
    assert torch.equal(run(tmp_path / "cut", stops=False), whole)
