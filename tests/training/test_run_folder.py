from __future__ import annotations

from pathlib import Path

import pytest

from seglm.training.run_folder import open_run


def test_a_run_does_not_write_into_another_unless_told(tmp_path: Path) -> None:
    run = open_run(tmp_path / "a" / "lisa")
    run.log.write_text("it ran")
    with pytest.raises(
        ValueError, match=r"already holds a run; go on with it \(--resume\), replace it \(--overwrite\)"
    ):
        open_run(run.folder)
    open_run(run.folder, overwrite=True)
    assert not run.log.exists()


def test_resume_needs_a_complete_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no complete checkpoint"):
        open_run(tmp_path / "none", resume=True)


def test_resume_and_overwrite_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give one of them"):
        open_run(tmp_path, resume=True, overwrite=True)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="holds no run of SegLM"):
        open_run(tmp_path, overwrite=True)


def test_evaluations_lie_beside_the_checkpoints_and_are_no_run(tmp_path: Path) -> None:
    run = open_run(tmp_path / "lisa")
    folder = run.evaluation("ReasonSeg|val")
    assert folder == run.folder / "eval" / "ReasonSeg_val"
    folder.mkdir(parents=True)
    open_run(run.folder)
