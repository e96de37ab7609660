"""The bank of the object contrast holds what all processes have seen, and is one and the same on each."""

from __future__ import annotations

from pathlib import Path

from tests.training.processes import run_ranks


def test_every_process_holds_what_all_of_them_have_pushed(tmp_path: Path) -> None:
    banks = run_ranks(tmp_path, 3, tmp_path, script="tests.training.bank").result["banks"]
    # two rows of the second process and four of the third, of which five are kept
    first, second = [11, 20, 21, 22, 23], [111, 120, 121, 122, 123]
    assert banks == [[[first, first], [second, second]]] * 3
