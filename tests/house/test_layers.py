"""Who may import whom, read from the source of every library file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import ROOT, SCRIPTS, library, module_name

# The longest prefix that fits a module decides; a module may always import its own folder.
MAY_IMPORT = {
    "seglm": ("seglm.hf", "seglm.model"),
    "seglm.hf": ("seglm.utils", "seglm.dataset", "seglm.model", "seglm.evaluation.asking"),
    "seglm.training": ("seglm.utils", "seglm.dataset", "seglm.model", "seglm.evaluation"),
    "seglm.doctor": ("seglm.utils",),
    "seglm.plan": ("seglm.preflight", "seglm.utils", "seglm.model"),
    "seglm.predict": ("seglm.utils", "seglm.model", "seglm.evaluation.asking"),
    "seglm.preview": (
        "seglm.preflight",
        "seglm.training",
        "seglm.utils",
        "seglm.dataset",
        "seglm.model",
        "seglm.evaluation.pictures",
    ),
    "seglm.preflight": ("seglm.training", "seglm.utils", "seglm.dataset", "seglm.model"),
    "seglm.utils": (),
    # Names under which GLUS' users score: a line each that calls what they are another name of.
    **{
        f"seglm.utils.eval_{name}": ("seglm.evaluation.as_glus",)
        for name in ("mevis", "davis", "revos", "reason_vos")
    },
    "seglm.dataset": ("seglm.utils",),
    "seglm.model": ("seglm.utils",),
    "seglm.evaluation.pictures": ("seglm.utils",),
    "seglm.evaluation.scores": ("seglm.utils", "seglm.model.settings", "seglm.evaluation.pictures"),
    "seglm.evaluation.scores.iou": ("seglm.utils",),
    "seglm.evaluation.scores.video_files": ("seglm.utils", "seglm.evaluation.scores", "seglm.dataset.masks"),
    "seglm.evaluation.scores.grefer": ("seglm.utils", "seglm.evaluation.scores.iou"),
    "seglm.evaluation.scores.boxes": ("seglm.utils", "seglm.evaluation.scores.iou"),
    "seglm.evaluation.asking": (
        "seglm.utils",
        "seglm.dataset",
        "seglm.model",
        "seglm.evaluation.pictures",
        "seglm.evaluation.scores",
    ),
    "seglm.evaluation.league": (
        "seglm.utils",
        "seglm.dataset",
        "seglm.model",
        "seglm.evaluation",
        "seglm.training",
    ),
    "seglm.evaluation": ("seglm.utils", "seglm.dataset", "seglm.model"),
    "seglm.bases": ("seglm.utils", "seglm.dataset", "seglm.model", "seglm.evaluation"),
}
HEAVY = (
    "deepspeed",
    "peft",
    "transformers",
    "matplotlib",
    "tensorboard",
    "bitsandbytes",
    "flash_attn",
    "av",
)
FILES = list(library())


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "seglm")


def _inside(module: str, folder: str) -> bool:
    return module == folder or module.startswith(folder + ".")


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_a_module_imports_only_what_lies_below_it(file: Path) -> None:
    home = max((layer for layer in MAY_IMPORT if _inside(module_name(file), layer)), key=len)
    allowed = (*MAY_IMPORT[home], *((home,) if home != "seglm" else ()))
    wrong = [
        name
        for name in _imports(file)
        if _inside(name, "seglm") and name != "seglm" and not any(_inside(name, layer) for layer in allowed)
    ]
    assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}; {home} may import {allowed}"


@pytest.mark.parametrize("file", [f for f in FILES if f.parent.name == "systems"], ids=module_name)
def test_no_system_imports_another(file: Path) -> None:
    others = [name for name in _imports(file) if name.startswith("seglm.model.systems")]
    assert not others, f"{file.name} imports {others}; what two systems share moves down into model/"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_nothing_imports_the_scripts(file: Path) -> None:
    scripts = {name.removesuffix(".py") for name in SCRIPTS}
    wrong = [name for name in _imports(file) if name.removeprefix("seglm.") in scripts]
    assert not wrong, f"{file.relative_to(ROOT)} imports the script {wrong}"


def test_recipes_come_without_any_heavy_library() -> None:
    program = (
        "import sys; import seglm.model.recipes as r; r.recipe('lisa_tiny');"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
