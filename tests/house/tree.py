"""What belongs to the project: the one place where the checks of this folder look for files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("model", "utils", "dataset", "evaluation", "training", "bases")
"""the top-level folders that become sub-packages of seglm"""
SCRIPTS = ("train_ds.py", "chat.py", "merge_lora_weights_and_save_hf_model.py")


def packages(root: Path = ROOT) -> list[Path]:
    """The folders of the sub-packages, relative to `root`; data in ./dataset/ade20k and the like are not looked into."""
    found: list[Path] = []
    waiting = [root / top for top in FOLDERS]
    while waiting:
        folder = waiting.pop(0)
        if (folder / "__init__.py").is_file():
            found.append(folder.relative_to(root))
            waiting += sorted(entry for entry in folder.iterdir() if entry.is_dir())
    return found


def library(root: Path = ROOT) -> Iterator[Path]:
    """Every Python file that is installed."""
    yield from sorted((root / "seglm").glob("*.py"))
    for folder in packages(root):
        yield from sorted((root / folder).glob("*.py"))


def sources(root: Path = ROOT) -> Iterator[Path]:
    """Every Python file of the project: the library, the scripts, the benchmarks and the tests."""
    yield from library(root)
    yield from sorted(root.glob("*.py"))
    for folder in ("benchmarks", "tests"):
        yield from sorted((root / folder).rglob("*.py"))


def module_name(file: Path, root: Path = ROOT) -> str:
    """The import name of a library file: model/terms.py -> seglm.model.terms."""
    parts = [*file.relative_to(root).with_suffix("").parts]
    parts = parts if parts[0] == "seglm" else ["seglm", *parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
