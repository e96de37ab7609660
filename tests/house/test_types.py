"""mypy really looks at the library, through the links and whatever is installed beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

WRONG = '''"""A planted error."""

from seglm.utils.did_you_mean import nearest

count: int = nearest("a", ["b"])
'''


@pytest.mark.slow
def test_a_planted_type_error_is_reported(tmp_path: Path) -> None:
    for name in ("seglm", "utils"):  # a corner that stands by itself
        (tmp_path / name).mkdir()
    for name in ("pyproject.toml", "seglm/__init__.py", "utils/__init__.py", "utils/did_you_mean.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "seglm" / "utils").symlink_to("../utils")

    def check() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mypy", "seglm"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    good = check()
    assert good.returncode == 0 and "3 source files" in good.stdout, good.stdout + good.stderr
    (tmp_path / "utils" / "planted.py").write_text(WRONG)
    bad = check()
    assert bad.returncode == 1
    assert "planted.py:5: error: Incompatible types in assignment" in bad.stdout
