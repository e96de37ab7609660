"""The packages that are here against the list of those that were tried."""

from __future__ import annotations

import sys
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from seglm.utils import versions
from seglm.utils.versions import outside, packages


def test_the_list_is_that_of_requirements_txt() -> None:
    names = {package.wanted.name for package in packages()}
    assert {"torch", "transformers", "peft", "deepspeed"} <= names
    assert all(package.installed for package in packages())


def test_what_is_too_old_too_new_or_absent_is_named_with_the_command_that_mends_it() -> None:
    numpy = version("numpy")
    found = packages(map(Requirement, ["numpy>=99", f"pillow>={version('pillow')}", "surely-absent==1.0"]))
    assert outside(found) == [
        f"numpy {numpy} (tried with >=99)",
        "surely-absent is absent (tried with ==1.0)",
        'next: pip install "numpy>=99" "surely-absent==1.0"',
    ]
    assert outside(packages([Requirement("numpy>=1,<99")])) == []


def test_an_old_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "PYTHON", (4, 0))
    assert outside([]) == [f"Python {sys.version.split()[0]} (needed is 4.0 or newer)"]


def test_an_installed_package_is_asked_where_there_is_no_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "LIST", versions.LIST.with_name("no such list"))
    monkeypatch.setattr(versions, "requires", lambda _: ["numpy>=2,<3", 'pytest>=8; extra == "dev"'])
    assert [str(wanted) for wanted in versions.listed()] == ["numpy<3,>=2"]
