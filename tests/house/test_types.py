"""mypy really looks at the library."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.house.link_tree import check, link_tree
from tests.house.tree import ROOT

WRONG = '''"""A planted error."""

from seglm.utils.did_you_mean import nearest

count: int = nearest("a", ["b"])
'''


@pytest.mark.slow
def test_a_planted_type_error_is_reported(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "seglm", "utils"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for folder in ("seglm", "utils"):  # a corner that stands by itself
        for file in (tmp_path / folder).glob("*.py"):
            if file.name not in {"__init__.py", "nearest.py"}:
                file.unlink()
    good = check(tmp_path)
    assert good.returncode == 0, good.stdout + good.stderr
    (tmp_path / "utils" / "planted.py").write_text(WRONG)
    bad = check(tmp_path)
    assert bad.returncode == 1
    assert "planted.py:5: error: Incompatible types in assignment" in bad.stdout


def test_the_link_tree_holds_every_folder_and_drops_what_is_gone(tmp_path: Path) -> None:
    for folder in ("seglm", "utils", "model"):
        (tmp_path / folder).mkdir()
    (tmp_path / "seglm" / "__init__.py").touch()
    tree = link_tree(tmp_path)
    (tmp_path / "model").rmdir()
    (tmp_path / "evaluation").mkdir()
    link_tree(tmp_path)
    assert sorted(link.name for link in tree.iterdir()) == ["__init__.py", "evaluation", "utils"]
    assert (tree / "utils").resolve() == tmp_path / "utils"
