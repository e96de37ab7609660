"""The replica of the original's schedule, against which speed is measured, computes what we compute."""

from __future__ import annotations

import pytest
import torch

from benchmarks import replica
from seglm.dataset.collate import collate
from tests.tiny import tiny_example, tiny_model


def test_the_replicas_step_has_our_loss() -> None:
    model = tiny_model()
    examples = [tiny_example(("It is {}.", "Sure, {}."), key=f"tiny/{seed}", seed=seed) for seed in range(2)]
    with torch.no_grad():
        assert replica.training_loss(model, examples).item() == pytest.approx(
            model(collate(examples)).loss.item(), rel=1e-5
        )
