"""Packaging: what pyproject.toml cannot say; everything else stands there.

`seglm` holds links to `model`, `utils`, `dataset`, `evaluation`, `training` and `bases`, which must never land in anyone's
site-packages under these names: setuptools follows the links, and the wheel holds `seglm` and nothing else
(tests/house/test_packaging.py). Data in ./dataset/ade20k and the like have no `__init__.py` at their top and are not looked into.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
BASES = ROOT / "seglm" / "bases"


def package_data() -> dict[str, list[str]]:
    """What is not Python but belongs to the package: the type marker, class lists, the tiny bases, the evaluation scripts."""
    return {
        "seglm": ["py.typed"],
        "seglm.dataset": ["classes/*.json"],
        "seglm.evaluation": ["*/*.sh", "*.sh"],
        "seglm.bases": [
            file.relative_to(BASES).as_posix()
            for file in sorted(BASES.rglob("*"))
            if file.is_file() and file.suffix not in {".py", ".pyc"}
        ],
    }


def requirements() -> list[str]:
    """The one runtime list, requirements.txt, without its comments."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in (re.sub(r"\s*#.*", "", line).strip() for line in lines) if line]


setup(
    packages=find_packages(include=["seglm*"]),
    package_data=package_data(),
    include_package_data=False,
    install_requires=requirements(),
)
