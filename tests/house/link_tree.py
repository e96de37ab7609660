"""The checkout under its import name, for mypy: build/types/seglm/model -> model and so on.

mypy on the installed name finds a package it may not look into and is silently green (tests/house/test_types.py shows that this
way is not). Run as `python -m tests.house.link_tree`: builds the tree and runs mypy on it and on the scripts.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.house.tree import FOLDERS, ROOT, SCRIPTS


def link_tree(root: Path) -> Path:
    """Builds `root`/build/types/seglm and returns it; links that are right are kept."""
    tree = root / "build" / "types" / "seglm"
    tree.mkdir(parents=True, exist_ok=True)
    wanted = {folder: root / folder for folder in FOLDERS if (root / folder).is_dir()}
    wanted |= {file.name: file for file in (root / "seglm").iterdir() if file.suffix in {".py", ".typed"}}
    for link in tree.iterdir():
        if not (link.is_symlink() and link.readlink() == wanted.get(link.name)):
            link.unlink()
    for name, target in wanted.items():
        if not (tree / name).is_symlink():
            (tree / name).symlink_to(target)
    return tree


def check(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """mypy --strict on the tree and the scripts of `root`, with the settings of its pyproject.toml."""
    scripts = [name for name in SCRIPTS if (root / name).is_file()]
    command = [sys.executable, "-m", "mypy", *arguments, str(link_tree(root)), *scripts]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    done = check(ROOT)
    print(done.stdout + done.stderr, end="")
    sys.exit(done.returncode)
