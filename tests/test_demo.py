"""demo.ipynb as a user opens it: each cell runs, pictures stand in it, and without a model its first cell says how to get one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.house.tree import ROOT

NEEDED = 'needs nbclient and ipykernel: pip install -e ".[dev]"'
MERGED = ROOT / "tests" / "goldens" / "49f5cfb" / "merged_lisa"


def executed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    client = pytest.importorskip("nbclient", reason=NEEDED)
    nbformat = pytest.importorskip("nbformat", reason=NEEDED)
    pytest.importorskip("ipykernel", reason=NEEDED)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (folder / "imgs").symlink_to(ROOT / "imgs")
    notebook = nbformat.read(ROOT / "demo.ipynb", as_version=4)
    nbformat.validate(notebook)
    where = {"metadata": {"path": str(folder)}}
    client.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    return notebook


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_cell_of_the_notebook_runs_and_shows_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a merged folder that ships in place of the trained one."""
    (tmp_path / "runs" / "lisa_tiny").mkdir(parents=True)
    (tmp_path / "runs" / "lisa_tiny" / "merged").symlink_to(MERGED)
    notebook = executed(tmp_path, monkeypatch)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [any("image/png" in out.get("data", {}) for out in cell.outputs) for cell in cells]
    assert sum(shown) == 3


@pytest.mark.slow
def test_without_a_model_its_first_cell_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nbclient", reason=NEEDED)
    with pytest.raises(Exception, match="runs/lisa_tiny/merged: run `bash run_train.sh` first"):
        executed(tmp_path, monkeypatch)


def test_the_notebook_is_kept_without_what_it_shows() -> None:
    text = (ROOT / "demo.ipynb").read_text(encoding="utf-8")
    assert "image/png" not in text and '"execution_count": 1' not in text
