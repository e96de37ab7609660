"""Packaging: maps the folders of the checkout onto the one import name `seglm`; everything else stands in pyproject.toml.

`model`, `utils`, `dataset`, `evaluation` and `bases` must never land in anyone's site-packages under these names, so the wheel
holds `seglm` and nothing else (tests/house/test_wheel.py).
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
FOLDERS = ("model", "utils", "dataset", "evaluation", "training", "bases")


def packages() -> dict[str, str]:
    """Import name -> folder, for `seglm` and every regular package (a folder with `__init__.py`) below FOLDERS.

    Data that a user keeps in ./dataset/ade20k and the like is not looked into: it has no `__init__.py` at its top.
    """
    found = {"seglm": "seglm"}
    waiting = [ROOT / top for top in FOLDERS]
    while waiting:
        folder = waiting.pop(0)
        if (folder / "__init__.py").is_file():
            inside = folder.relative_to(ROOT)
            found["seglm." + ".".join(inside.parts)] = inside.as_posix()
            waiting += sorted(entry for entry in folder.iterdir() if entry.is_dir())
    return found


def package_data() -> dict[str, list[str]]:
    """What is not Python but belongs to the package: the type marker, class lists, the tiny bases, the evaluation scripts."""
    return {
        "seglm": ["py.typed"],
        "seglm.dataset": ["classes/*.json"],
        "seglm.evaluation": ["*/*.sh", "*.sh"],
        "seglm.bases": [
            file.relative_to(ROOT / "bases").as_posix()
            for file in sorted((ROOT / "bases").rglob("*"))
            if file.is_file() and file.suffix not in {".py", ".pyc"}
        ],
    }


def requirements() -> list[str]:
    """The one runtime list, requirements.txt, without its comments."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in (re.sub(r"\s*#.*", "", line).strip() for line in lines) if line]


setup(
    packages=list(packages()),
    package_dir=packages(),
    package_data=package_data(),
    include_package_data=False,
    install_requires=requirements(),
)
