from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from seglm.training.run_folder import RunFolder, forget, open_run, refuse, refuse_full_disk, release
from seglm.utils import lock
from tests.training.processes import die_at


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
    release(run)
    assert sorted(entry.name for entry in run.folder.iterdir()) == ["eval", "log.txt"]
    open_run(run.folder)
    assert not run.log.exists()


def test_a_run_begins_with_its_first_step_whatever_ended_a_start_before(tmp_path: Path) -> None:
    run = open_run(tmp_path / "lisa")
    run.log.write_text("it began")
    board = run.folder / "events.out.tfevents.1.host.2.0"
    board.write_text("")
    release(run)  # as the kernel does for a process that was killed
    open_run(run.folder)
    assert not run.log.exists() and not board.exists()
    run.describe(lambda: {"recipe": "lisa_tiny"})
    run.describe(lambda: {"recipe": "another"})
    release(run)
    with pytest.raises(ValueError, match="holds a run that saved nothing"):
        open_run(run.folder)
    assert json.loads(run.manifest.read_text()) == {"recipe": "lisa_tiny"}
    run.describe(lambda: {"recipe": "gone on with"}, anew=True)
    assert json.loads(run.manifest.read_text()) == {"recipe": "gone on with"}


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
    (tmp_path / "begun").mkdir()
    with pytest.raises(ValueError, match="holds no complete checkpoint"):
        open_run(tmp_path / "begun", resume=True)


def test_resume_of_a_run_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"none is not there; .* holds no run; to begin a run leave --resume out"
    ):
        open_run(tmp_path / "none", resume=True)
    (tmp_path / "lisa").mkdir()
    (tmp_path / "lisa" / "manifest.json").touch()
    with pytest.raises(ValueError, match=r"--resume: .*liza is not there; runs in .*: lisa; to begin"):
        open_run(tmp_path / "liza", resume=True)


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


def elsewhere(work: Callable[[], object]) -> int:
    """A process that has done `work` and lives on."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        work()
        os.write(tell, b".")
        time.sleep(600)
        os._exit(0)
    assert os.read(told, 1) == b"."
    return child


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_run_that_is_going_on_has_its_folder_alone(tmp_path: Path) -> None:
    """By whatever flag a second one comes; after kill -9 of the first the folder is free."""
    run = RunFolder(tmp_path / "lisa")
    child = elsewhere(lambda: open_run(run.folder).manifest.write_text("{}"))
    for flags in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(
            ValueError, match=rf"lisa: process {child} on \S+ writes this run; wait for its end"
        ):
            open_run(run.folder, **flags)
    assert run.manifest.exists()
    end(child)
    with pytest.raises(ValueError, match="saved nothing"):
        open_run(run.folder)
    open_run(run.folder, overwrite=True)
    release(run)
    assert not list(run.folder.iterdir())


def test_a_run_that_came_between_the_look_and_the_lock_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, take = RunFolder(tmp_path / "lisa"), lock.take

    def late(path: Path) -> str:
        run.manifest.write_text("{}")
        return take(path)

    monkeypatch.setattr(lock, "take", late)
    with pytest.raises(ValueError, match="saved nothing"):
        open_run(run.folder)
    assert run.manifest.exists() and not (run.folder / "lock").exists()


def test_what_a_user_keeps_beside_the_kept_weights_stays(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("step3", "step12", "step8", "step12.new", "step8-good", "best"):
        run.kept(0).with_name(name).mkdir(parents=True)
    run.kept(0).with_name(".nfs0001").touch()
    run.remove_halves()
    run.keep_last(2)
    names = sorted(path.name for path in run.kept(0).parent.iterdir())
    assert names == [".nfs0001", "best", "step12", "step8", "step8-good"]
    run.go_back(8)
    assert not run.kept(12).exists() and run.kept(8).exists()


def test_an_overwrite_that_is_killed_anywhere_can_be_done_again(tmp_path: Path) -> None:
    """Before its n-th change of the file system, for every n."""
    number, killed = 0, True
    while killed:
        run = RunFolder(tmp_path / str(number))
        (run.folder / "slots" / "a").mkdir(parents=True)
        for path in (run.log, run.manifest, run.metrics, run.folder / "slots" / "a" / "COMPLETE"):
            path.write_text("")
        child = os.fork()
        if child == 0:
            die_at(number)
            open_run(run.folder, overwrite=True)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        open_run(run.folder, overwrite=True)
        release(run)
        assert not list(run.folder.iterdir())
        number += 1
    assert number > 6
