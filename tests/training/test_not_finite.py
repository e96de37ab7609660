"""Weights that are no numbers are never written: the last good checkpoint is worth more than a new bad one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from seglm.training import engine_state
from seglm.training.plan import Hooks, Plan
from seglm.training.run_folder import RunFolder
from seglm.training.trainer import Trainer
from tests.training.tiny import TwoTerms


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_ruined_the_weights_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    written: list[Any] = []
    monkeypatch.setattr(engine_state, "save", lambda *given: written.append(given))
    module = TwoTerms()
    with torch.no_grad():
        module.words.weight[0, 2] = value
    shards = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    engine = cast(Any, SimpleNamespace(steps=3, phase="", shards=lambda: shards))
    trainer = Trainer(engine, cast(Any, None), RunFolder(tmp_path), Plan(1, 3, seed=0), Hooks())
    with pytest.raises(
        FloatingPointError, match=r"after step 3: 1 of 6 .*the first is words\.weight; nothing"
    ):
        trainer.save()
    assert not written and not any(tmp_path.iterdir())
