from __future__ import annotations

import logging
import time

import pytest
import torch

from seglm.training.watch import Tripwire, Watchdog


def test_a_step_ten_times_the_median_says_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("seglm").propagate = True
    with Watchdog(lambda: "micro-batch 3: forward of a/1", least=0.3, poll=0.01) as watchdog:
        for seconds in (0.001,) * 6 + (0.6, 0.6):
            watchdog.step_begins()
            time.sleep(seconds)
            watchdog.step_ends()
    # pytest also listens to a logger that does not propagate, so after another test a record may be there twice.
    said = list({id(record): record.message for record in caplog.records}.values())
    assert len(said) == 2, "once for each late step"
    assert "hangs since" in said[0] and "micro-batch 3: forward of a/1" in said[0] and "time.sleep" in said[0]


def test_the_first_steps_are_not_judged() -> None:
    with Watchdog(lambda: "", least=0.0) as watchdog:
        for _ in range(4):
            watchdog.step_begins()
            watchdog.step_ends()
        assert watchdog.limit() == float("inf")


def test_a_group_that_has_not_moved_stops_the_run_with_suspects() -> None:
    weights = {"lora.a": torch.ones(2), "lora.b": torch.zeros(2), "project.w": torch.ones(3)}
    tripwire = Tripwire(weights, lambda name: name.split(".")[0])
    weights["lora.b"] += 0.02
    with pytest.raises(
        RuntimeError, match=r"after 20 steps these weights have not changed: project\. Suspects:"
    ) as error:
        tripwire.check(weights, step=20)
    assert "learning rate is 0" in str(error.value) and "deltas" in str(error.value)
    weights["project.w"] += 0.1
    ratios = tripwire.check(weights, step=20)
    assert ratios["lora"] == pytest.approx(0.02)
    assert ratios["project"] == pytest.approx(0.1)


def test_weight_decay_alone_moves_no_group() -> None:
    weights = {"decoder.w": torch.randn(100), "project.w": torch.randn(100)}
    tripwire = Tripwire(weights, lambda name: name.split(".")[0])
    for _ in range(20):
        weights["decoder.w"] *= 1 - 4e-5 * 0.05
        weights["project.w"] *= 1 - 4e-5 * 0.05
        weights["project.w"] += 4e-5 * torch.randn(100).sign()
    with pytest.raises(RuntimeError, match=r"not changed, but for weight decay: decoder\. Suspects"):
        tripwire.check(weights, step=20, decayed=lambda name: 20 * 4e-5 * 0.05)
    assert tripwire.check(weights, step=20)["decoder"] > 0  # which is why it has to be told
