"""README.md's map of folders: it leaves no room out, names nothing that is not there, and every room says what it is for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.tree import FOLDERS, ROOT, packages

SECTION = (
    (ROOT / "README.md").read_text(encoding="utf-8").partition("## Map of folders")[2].partition("\n## ")[0]
)
ROWS = dict(re.findall(r"^\| (`.*?) \| (.*) \|$", SECTION, flags=re.MULTILINE))
"""first column -> second"""


def _quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_folder_of_the_library_is_on_the_map() -> None:
    mapped = {place.rstrip("/") for rooms in ROWS for place in _quoted(rooms)}
    inside = {f"{top}/{name.rstrip('/')}" for top in FOLDERS for name in _quoted(ROWS.get(f"`{top}/`", ""))}
    # Folders without a row of their own: layouts belong to the toy world, and a benchmark's folder is called like it.
    benchmarks = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("evaluation/*/run_*.sh")}
    unsaid = {"dataset/toy/layouts", *benchmarks}
    rooms = {room.as_posix() for room in packages()}
    assert rooms - mapped - inside == unsaid


@pytest.mark.parametrize("rooms", ROWS)
def test_what_the_map_names_is_there(rooms: str) -> None:
    places = _quoted(rooms)
    assert all("..." in place or (ROOT / place).exists() for place in places), places
    for name in set(_quoted(ROWS[rooms])) - {"[SEG]", "..."}:
        ways = (name, *(f"{place}/{way}" for place in places for way in (name, f"{name}.py", f"*/{name}")))
        assert any(any(ROOT.glob(way.replace("//", "/"))) for way in ways), f"{name} is in none of {places}"


@pytest.mark.parametrize("folder", packages(), ids=Path.as_posix)
def test_every_package_says_what_it_is_for(folder: Path) -> None:
    said = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8")))
    assert said and said.splitlines()[0].endswith("."), f"{folder}/__init__.py begins with no sentence"


@pytest.mark.parametrize(
    "row, file, has",
    [
        ("`model/`", "model/segmenter.py", "def slot_states"),  # where does [SEG] become a mask
        (
            "`dataset/sources/`, `dataset/readers/`",
            "docs/adding_a_dataset.md",
            "scored",
        ),  # add a data set, score it
        ("`training/`", "training/sampler.py", "class SamplerState"),  # where does the sampler go on
        ("`model/released/`", "model/released/lisa.py", "tuple[Rule"),  # where is LISA's key map
        (
            "`evaluation/`",
            "evaluation/pictures/masks.py",
            "MASK_COLOURS",
        ),  # what gives a chat overlay its colour
    ],
)
def test_a_new_readers_question_is_answered_by_the_map_and_one_file(row: str, file: str, has: str) -> None:
    assert {file, Path(file).name} & set(_quoted(ROWS[row]))
    assert has in (ROOT / file).read_text(encoding="utf-8")
