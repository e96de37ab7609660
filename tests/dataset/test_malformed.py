"""Hundreds of malformed records: each is a fault that names its set, or changes nothing; none a traceback, a hang, a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.dataset.damages import SETS, Case, cases
from tests.house.tree import ROOT

CASES = list(cases())
TIMEOUT = 240


@cache
def results() -> tuple[dict[str, Any], str]:
    """What came of each case, by its name; and how the process ended."""
    command = [sys.executable, "-m", "tests.dataset.malformed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    last = next((line["begins"] for line in reversed(lines) if "begins" in line), "")
    ended = f"exit status {done.returncode} in {last!r}\n{done.stderr[-2000:]}" if done.returncode else ""
    return {line["name"]: line for line in lines if "name" in line}, ended


def test_there_are_hundreds_of_cases_with_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 300


@pytest.mark.timeout(TIMEOUT)
def test_no_case_hangs_or_ends_the_process() -> None:
    assert not results()[1]


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("reader", SETS)
def test_each_case_is_a_fault_with_its_set_or_changes_nothing(reader: str) -> None:
    spec = SETS[reader][1]
    wrong = [
        told
        for case in CASES
        if case.reader == reader and (told := _wrong(case, spec, results()[0])) is not None
    ]
    assert not wrong, "\n".join(wrong)


def _wrong(case: Case, spec: str, found: dict[str, Any]) -> str | None:
    result = found.get(case.name, {"error": "was not reached"})
    if "error" in result:
        return f"{case.name}: {result['error']}"
    if case.is_fault and not result["faults"]:
        return f"{case.name}: no fault, and what is read is {'as before' if result['same'] else 'something else'}"
    if not case.is_fault and not result["same"]:
        return f"{case.name}: what is read is something else; {result['faults']}"
    others = [told for told in result["faults"] if not told.startswith(spec) or "(" not in told]
    return f"{case.name}: {others}" if others else None
