from __future__ import annotations

from pathlib import Path

import pytest

from seglm.training.run_folder import RunFolder, forget, open_run, refuse, refuse_full_disk


def test_a_run_does_not_write_into_another_unless_told(tmp_path: Path) -> None:
    run = open_run(tmp_path / "a" / "lisa")
    run.log.write_text("it began")
    run.manifest.write_text("{}")
    with pytest.raises(ValueError, match=r"holds a run that saved nothing; replace it \(--overwrite\)"):
        open_run(run.folder)
    (run.folder / "slots" / "a").mkdir(parents=True)
    (run.folder / "slots" / "a" / "COMPLETE").write_text("")
    with pytest.raises(
        ValueError, match=r"already holds a run; go on with it \(--resume\), replace it \(--overwrite\)"
    ):
        open_run(run.folder)
    open_run(run.folder, overwrite=True)
    assert not run.log.exists()


def test_a_start_that_failed_is_no_run(tmp_path: Path) -> None:
    run = open_run(tmp_path / "lisa")
    run.log.write_text("it began")
    run.manifest.write_text("{}")
    run.evaluation("ReasonSeg|val").mkdir(parents=True)
    (run.folder / "slots").mkdir()
    forget(run)
    assert sorted(entry.name for entry in run.folder.iterdir()) == ["eval", "log.txt"]
    open_run(run.folder)
    assert not run.log.exists()


def test_a_look_at_the_folder_changes_nothing(tmp_path: Path) -> None:
    refuse(RunFolder(tmp_path / "a" / "lisa"), resume=False, overwrite=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "lisa"):
        with pytest.raises(
            ValueError, match="file is no folder that can be written to; choose another --log"
        ):
            refuse(RunFolder(folder), resume=False, overwrite=False)


def test_checkpoints_that_will_not_fit_are_said_before_training(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "a" / "lisa")
    refuse_full_disk(run, trained=1000)
    with pytest.raises(RuntimeError, match=r"need .* GiB \(.* 3 saves\) and the disk has .* GiB left"):
        refuse_full_disk(run, trained=10**15)


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
