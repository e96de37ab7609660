"""Two ranks, one of which never has a mask in its batch, against one rank with the same global batch: the tiny LISA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.processes import run_ranks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def trained(tmp_path: Path, size: int, zero: int, checkpointing: int = 0) -> dict[str, Any]:
    ended = run_ranks(
        tmp_path, size, tmp_path, str(zero), str(checkpointing), script="tests.training.segment"
    )
    return ended.result


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_a_rank_without_masks_hangs_nobody_and_changes_nothing(zero: int, tmp_path: Path) -> None:
    one, two = trained(tmp_path, 1, 1), trained(tmp_path, 2, zero)
    assert len(two["read"]) == len(one["read"])
    for alone, together in zip(one["read"], two["read"], strict=True):
        assert together == pytest.approx(alone, rel=1e-5)
    assert one["kept_whole"] and (zero < 3) == bool(two["kept_whole"])
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-6)


def test_gradient_checkpointing_under_zero_3_as_well(tmp_path: Path) -> None:
    one, two = trained(tmp_path, 1, 1), trained(tmp_path, 2, 3, checkpointing=1)
    assert not two["kept_whole"]
    assert two["runs"] == 2 * one["runs"]  # a layer is run again in the backward pass
    for alone, together in zip(one["read"], two["read"], strict=True):
        assert together == pytest.approx(alone, rel=1e-5)
