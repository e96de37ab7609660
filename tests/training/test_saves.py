"""The saves' promise under a kill at every single change of the file system, with stand-ins for DeepSpeed's files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from seglm.training import saves
from seglm.utils import atomic
from tests.training.processes import die_at


def save(run: Path, step: int) -> saves.Save:
    folder = saves.begin(run)
    state = folder / saves.tag(step)
    state.mkdir()
    (state / "weights.pt").write_text(f"weights of {step}")
    (folder / saves.SCRIPT).write_text("the script")
    (folder / "rng_rank0.pt").write_text(f"rng of {step}")
    return saves.commit(folder, step=step, facts={"samples": step * 8}, expected=1)


def best(run: Path) -> str:
    """What the user's `zero_to_fp32.py .` would read in ckpt_model."""
    model = run / "ckpt_model"
    assert (model / saves.SCRIPT).read_text() == "the script"
    return (model / (model / saves.LATEST).read_text() / "weights.pt").read_text()


def test_saves_take_turns_and_the_newest_complete_one_counts(tmp_path: Path) -> None:
    assert saves.newest(tmp_path) is None
    folders = [save(tmp_path, step).folder.name for step in (1, 2, 3)]
    assert folders == ["a", "b", "a"]
    last = saves.newest(tmp_path)
    assert last is not None and (last.step, last.facts) == (3, {"samples": 24})


def test_the_best_state_survives_the_saves_that_come_after_it(tmp_path: Path) -> None:
    saves.keep_as_best(tmp_path, save(tmp_path, 1))
    for step in (2, 3, 4, 5):
        save(tmp_path, step)
    assert best(tmp_path) == "weights of 1"
    saves.keep_as_best(tmp_path, save(tmp_path, 6))
    assert best(tmp_path) == "weights of 6"
    assert len(list((tmp_path / "ckpt_model").glob("global_step*"))) == 1


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint_and_a_whole_best(tmp_path: Path) -> None:
    """Save step 3 and keep it as the best over 1 and 2, killed before the n-th change of the file system, for every n."""
    number, seen = 0, set()
    while True:
        run = tmp_path / str(number)
        saves.keep_as_best(run, save_in(run, 1))
        save(run, 2)
        child = os.fork()
        if child == 0:
            die_at(number)
            saves.keep_as_best(run, save(run, 3))
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        last = saves.newest(run)
        assert last is not None and last.step in (2, 3)
        assert (last.folder / last.tag / "weights.pt").read_text() == f"weights of {last.step}"
        assert best(run) in ("weights of 1", "weights of 3")
        seen.add((last.step, best(run)))
        # And it can go on from there.
        saves.keep_as_best(run, save(run, 4))
        assert best(run) == "weights of 4"
        if not killed:
            break
        number += 1
    assert number > 15
    assert seen == {(2, "weights of 1"), (3, "weights of 1"), (3, "weights of 3")}


def save_in(run: Path, step: int) -> saves.Save:
    run.mkdir()
    return save(run, step)


def test_a_state_of_the_same_step_again_replaces_nothing_halfway(tmp_path: Path) -> None:
    saves.keep_as_best(tmp_path, save(tmp_path, 1))
    saves.keep_as_best(tmp_path, save(tmp_path, 1))
    assert best(tmp_path) == "weights of 1"


def test_a_machine_that_writes_elsewhere_is_found_out(tmp_path: Path) -> None:
    folder = saves.begin(tmp_path)
    (folder / "rng_rank0.pt").write_text("")
    with pytest.raises(RuntimeError, match="files of 1 of 2 processes.*shared file system"):
        saves.commit(folder, step=1, facts={}, expected=2)
    assert saves.newest(tmp_path) is None


def test_a_file_lost_afterwards_is_an_error_and_no_silent_step_back(tmp_path: Path) -> None:
    save(tmp_path, 1)
    last = save(tmp_path, 2)
    (last.folder / last.tag / "weights.pt").write_text("")
    with pytest.raises(RuntimeError, match=r"weights\.pt was 12 bytes"):
        saves.newest(tmp_path)


def test_the_marker_names_every_file(tmp_path: Path) -> None:
    last = save(tmp_path, 1)
    files = json.loads((last.folder / saves.COMPLETE).read_text())["files"]
    assert files == {"global_step1/weights.pt": 12, "rng_rank0.pt": 8, "zero_to_fp32.py": 10}


def test_a_step_that_is_come_to_by_another_way_is_another_state(tmp_path: Path) -> None:
    """A save is lost, the run goes on from the one before it and passes the same step; the best must not be the old one."""
    saves.keep_as_best(tmp_path, save(tmp_path, 1))
    shutil.rmtree(tmp_path / "slots" / "a")
    again = save(tmp_path, 1)
    (again.folder / again.tag / "weights.pt").write_text("other weights")
    for _ in range(2):
        saves.keep_as_best(tmp_path, again)
        assert best(tmp_path) == "other weights"
        assert len(list((tmp_path / "ckpt_model").glob("global_step*"))) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"step": 1, "facts": {}, "files": 3}'])
def test_a_marker_that_was_changed_is_named(content: str, tmp_path: Path) -> None:
    marker = save(tmp_path, 1).folder / saves.COMPLETE
    marker.write_text(content)
    with pytest.raises(RuntimeError, match="COMPLETE does not tell any more what was saved .*; remove "):
        saves.newest(tmp_path)


def test_a_reader_that_settles_between_two_renames_stops_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody merges the portable checkpoint of a run that is writing it."""
    folder, real, settled = tmp_path / "portable", os.replace, []

    def write(text: str) -> None:
        atomic.write_folder(folder, lambda fresh: (fresh / "it").write_text(text) and None)

    def replace(source: Path, target: Path) -> None:
        real(source, target)
        if target.suffix == ".old" and not settled:
            settled.append(target)
            atomic.settle(folder)

    write("old")
    monkeypatch.setattr(os, "replace", replace)
    write("new")
    assert settled and (folder / "it").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["portable"]
