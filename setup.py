"""Packaging: what pyproject.toml cannot say; everything else stands there.

`seglm` holds links to `model`, `utils`, `dataset`, `evaluation`, `training` and `bases`, which must never land in anyone's
site-packages under these names: setuptools follows the links, and the wheel holds `seglm` and nothing else
(tests/house/test_packaging.py). Data in ./dataset/ade20k and the like have no `__init__.py` at their top and are not looked into.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
BASES = ROOT / "seglm" / "bases"


def package_data() -> dict[str, list[str]]:
    """What is not Python but belongs to the package: the type marker, class lists, the tiny bases; no scripts."""
    return {
        "seglm": ["py.typed"],
        "seglm.dataset": ["classes/*.json"],
        "seglm.bases": [
            file.relative_to(BASES).as_posix()
            for file in sorted(BASES.rglob("*"))
            if file.is_file() and file.suffix not in {".py", ".pyc"}
        ],
    }


def requirements() -> list[str]:
    """The one runtime list, requirements.txt, without its comments; with SEGLM_LATEST set (run_tests.sh --latest) unbounded."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [line for line in (re.sub(r"\s*#.*", "", line).strip() for line in lines) if line]
    return [unbounded(line) for line in listed] if os.environ.get("SEGLM_LATEST") else listed


def unbounded(line: str) -> str:
    """A requirement without its upper bound. torch keeps it: it is the one that comes built for a machine, gigabytes for CUDA."""
    return line if line.startswith("torch>") else re.sub(r",<[^,;]+", "", line).replace("==", ">=")


setup(
    packages=find_packages(include=["seglm*"]),
    package_data=package_data(),
    include_package_data=False,
    install_requires=requirements(),
)
