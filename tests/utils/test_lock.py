"""One process at a time, and nobody for ever."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from seglm.utils import lock
from tests.training.test_run_folder import elsewhere, end


def test_a_lock_keeps_others_out_until_its_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not lock.holder(path) and not path.exists()
    child = elsewhere(lambda: lock.take(path))
    assert lock.take(path) == lock.holder(path) == f"process {child} on {os.uname().nodename}"
    end(child)
    assert not lock.holder(path) and not lock.take(path) and not lock.take(path)
    lock.free(path)
    lock.free(path)
    assert not path.exists()


def test_a_look_at_ones_own_lock_does_not_free_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock.take(path)
    assert not lock.holder(path)
    child = os.fork()
    if child == 0:
        lock._held.clear()
        os._exit(0 if lock.take(path) else 1)
    assert os.waitpid(child, 0)[1] == 0
    lock.free(path)


def test_a_file_that_was_freed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, tries = tmp_path / "lock", fcntl.lockf, []

    def late(handle: int, how: int) -> None:
        tries.append(handle)
        if len(tries) == 1:
            path.unlink()
        real(handle, how)

    monkeypatch.setattr(fcntl, "lockf", late)
    assert not lock.take(path) and path.exists() and len(tries) == 2
    lock.free(path)


def test_a_file_system_without_locks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unable(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", unable)
    monkeypatch.setattr(lock.log, "propagate", True)
    with caplog.at_level("WARNING", logger="seglm"):
        assert not lock.take(tmp_path / "lock")
    assert "has no locks (" in caplog.text
    lock.free(tmp_path / "lock")
