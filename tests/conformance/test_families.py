"""Every folder of goldens is either checked or named as not yet checkable; none is overlooked."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.families import CHECKED, NOT_YET, unknown
from tests.conformance.goldens import ROOT


def test_every_folder_of_goldens_is_checked_or_in_not_yet() -> None:
    assert unknown(ROOT) == []


def test_no_family_is_both_checked_and_not_yet() -> None:
    assert not CHECKED & NOT_YET


def test_a_family_that_nobody_knows_is_found(tmp_path: Path) -> None:
    for name in ("lisa", "metrics/refcoco", "metrics/new_metric", "new_system"):
        (tmp_path / name).mkdir(parents=True)
    assert unknown(tmp_path) == ["metrics/new_metric", "new_system"]


def test_every_checked_family_is_read_by_a_test_here() -> None:
    sources = "".join(
        path.read_text() for path in Path(__file__).parent.glob("*.py") if path.name != "families.py"
    )
    assert [name for name in sorted(CHECKED) if name.rpartition("/")[2] not in sources] == []
