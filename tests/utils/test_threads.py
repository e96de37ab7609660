"""How many threads there are and how they wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seglm.utils import threads


@pytest.mark.parametrize(
    "quota, bound, want",
    [
        ("max 100000", 8, 8),  # no limit
        ("200000 100000", 8, 2),  # a container with two cores of a large machine
        ("150000 100000", 8, 2),  # one and a half: the second is there half of the time
        ("50000 100000", 8, 1),
        ("800000 100000", 2, 2),  # taskset says less
    ],
)
def test_a_container_has_no_more_cores_than_its_share_of_time(
    quota: str, bound: int, want: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(bound)), raising=False)
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert threads.usable_cores(tmp_path / "cpu.max") == want
    assert threads.usable_cores(tmp_path / "nowhere") == bound


def test_processes_of_a_machine_share_its_cores_and_what_was_settled_is_settled_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_settled", set())
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    for name in threads.variables():
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    threads.settle()
    assert os.environ["OMP_NUM_THREADS"] == "8"
    threads.settle(3)
    assert os.environ["OMP_NUM_THREADS"] == "2"
    threads.settle(99)
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
