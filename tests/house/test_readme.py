"""Every command that README.md and docs/ show is one that this checkout understands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from seglm.dataset.frames import read_frame
from seglm.model.recipes import recipe
from seglm.utils.cli import read
from seglm.utils.config import override
from tests.house.documented import ALL, DOCUMENTS, commands
from tests.house.tree import ROOT


@cache
def _help(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def _check_training(words: list[str]) -> None:
    options = read(words)
    if options.recipe != "my_system_tiny":
        override(recipe(options.recipe or "lisa_7b"), options.settings)


def _check_flags(command: tuple[str, ...], words: list[str]) -> None:
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word.split('=')[0])}\b", _help(*command)), (
                f"{word} is no flag of {command}"
            )


@pytest.mark.parametrize(
    "command", [one.line for one in ALL], ids=[f"{one.document}: {one.line[:60]}" for one in ALL]
)
def test_a_command_that_a_document_shows_is_understood(command: str) -> None:
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[0] == "srun":
        words = words[words.index("bash") :]
    match words:
        case ["cd", folder, "&&", "python", "zero_to_fp32.py", *_]:
            assert folder.startswith("runs/")
        case ["bash", "run_train.sh", *rest]:
            _check_training(rest)
        case ["python", "train_ds.py", *rest]:
            read([word.replace("NAME", "lisa_7b") for word in rest])
        case ["bash", script, *_]:
            assert (ROOT / script).is_file()
        case ["python", "-m", "pytest", *rest]:
            assert all((ROOT / word).exists() for word in rest if not word.startswith("-"))
        case ["python", "-m", module, *rest]:
            assert find_spec(module), f"there is no {module}"
            _check_flags(("-m", module), rest)
        case ["python", script, *rest]:
            assert (ROOT / script).is_file(), f"there is no {script}"
            _check_flags((script,), rest)
        case ["pip", "install", *rest]:
            extras = {extra for word in rest for extra in re.findall(r"\[(.*)\]", word)}
            assert all(f"{extra} = [" in (ROOT / "pyproject.toml").read_text() for extra in extras)
        case _:
            pytest.fail(f"not known how to check {command!r}")


def test_the_readme_begins_with_the_two_commands() -> None:
    first = commands(ROOT / "README.md")[:2]
    assert [shlex.split(line, comments=True) for line in first] == [
        ["bash", "run_train.sh"],
        ["bash", "run_tests.sh"],
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8"))
    assert not [link for link in links if not (document.parent / link).exists()]


def test_the_python_of_the_readme_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a merged folder that ships in place of the one that it names."""
    [shown] = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert shown.count('"merged/lisa-7b"') == 1
    monkeypatch.chdir(ROOT)
    kept: dict[str, Any] = {}
    exec(shown.replace("merged/lisa-7b", "tests/goldens/49f5cfb/merged_lisa"), kept)
    assert capsys.readouterr().out.startswith(kept["answer"].text)
    assert kept["answer"].masks.shape[1:] == read_frame(ROOT / "imgs" / "toy_ring.png", "ring").shape[:2]
