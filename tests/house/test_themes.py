"""docs/user_themes.md names, for each complaint of this field's users, tests that exist."""

from __future__ import annotations

import ast
import re

from tests.house.tree import ROOT

TEXT = (ROOT / "docs" / "user_themes.md").read_text(encoding="utf-8")
THEMES = (4, 5, 6, 9, 13, 14, 17, 19, 22)


def test_every_theme_of_this_stage_has_a_section() -> None:
    assert [int(number) for number in re.findall(r"^## (\d+)\.", TEXT, flags=re.MULTILINE)] == list(THEMES)


def test_every_section_names_a_test() -> None:
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        assert re.search(r"`tests/[\w/]+\.py::test_\w+`", section), section.splitlines()[0]


def test_every_named_test_exists() -> None:
    missing = []
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT):
        path = ROOT / file
        names = set()
        if path.is_file():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        if name not in names:
            missing.append(f"{file}::{name}")
    assert not missing
