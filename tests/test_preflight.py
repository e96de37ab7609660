"""The whole join learns: eight samples of the toy world, from the committed bases, by LISA's own recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from seglm.dataset.toy.write import write
from seglm.model.recipes import recipe as named
from seglm.preflight import ENOUGH, main, overfit
from seglm.utils.config import override


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_eight_samples_are_learnt_to_an_iou_above_0_9(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "toy", images=16, val_images=4, test_images=4, seed=0)
    settings = [
        ("data.dataset_dir", str(tmp_path / "toy")),
        ("data.mixture", "refer_seg"),
        ("data.rates", "1"),
    ]
    outcome = overfit(override(named("lisa_tiny"), settings))
    assert outcome.passed and outcome.iou > ENOUGH
    arguments = [
        "--recipe",
        "lisa_tiny",
        "--steps",
        "1",
        "--samples",
        "2",
        *(f"{k}={v}" for k, v in settings),
    ]
    assert main(arguments) == 1  # one step teaches nothing, and it says so
    assert "FAILED: IoU" in capsys.readouterr().out
