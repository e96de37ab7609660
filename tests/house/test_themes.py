"""docs/user_themes.md names, for each complaint of this field's users, tests, commands and files that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.documented import documented
from tests.house.tree import ROOT

PAGE = ROOT / "docs" / "user_themes.md"
TEXT = PAGE.read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
THEMES = 25


def test_every_theme_has_a_section() -> None:
    assert [int(section.split(".")[0]) for section in SECTIONS] == list(range(1, THEMES + 1))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_a_section_is_short_and_names_a_test(section: str) -> None:
    """And what is not there is said in one line."""
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", section)
    assert len(section.splitlines()) <= 24
    assert section.count("\nWaits: ") <= 1


def _tests_of(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_named_test_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    assert not [f"{file}::{name}" for file, name in named if name not in _tests_of(ROOT / file)]


def test_every_named_file_exists() -> None:
    named = re.findall(r"`([\w/]+\.(?:py|md|txt|sh))[`:]", TEXT)
    assert named and not [name for name in named if not (ROOT / name).is_file()]


def test_the_commands_it_names_are_among_those_that_are_run() -> None:
    """tests/house/test_documented_commands.py runs what the pages print; this page's commands need nothing that it has not."""
    lines = documented(PAGE)
    assert len(lines) >= 5 and not [line for line in lines if line.needs]
