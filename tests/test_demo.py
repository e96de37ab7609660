"""demo.ipynb as a user opens it: each cell runs, pictures stand in it, and without a model its first cell says how to get one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.house.tree import ROOT
from tests.test_journey import run
from tests.test_journey_systems import trained

NEEDED = 'needs nbclient and ipykernel: pip install -e ".[dev]"'


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
    """With a model that was trained for two steps, in a small toy world."""
    sizes = ("--sets", "all", "--images", "60", "--val_images", "4", "--test_images", "4")
    run("-m", "seglm.dataset.toy", "--dataset_dir", "data", *sizes, cwd=tmp_path)
    trained("desa2va_tiny", tmp_path)
    (tmp_path / "data" / "toy").symlink_to(tmp_path / "data")
    (tmp_path / "runs" / "desa2va_tiny" / "merged").symlink_to(tmp_path / "merged" / "desa2va_tiny")
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
    with pytest.raises(Exception, match="runs/desa2va_tiny/merged: the three commands above make it"):
        executed(tmp_path, monkeypatch)


def test_the_notebook_is_kept_without_what_it_shows() -> None:
    text = (ROOT / "demo.ipynb").read_text(encoding="utf-8")
    assert "image/png" not in text and '"execution_count": 1' not in text
