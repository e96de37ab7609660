"""What tests of the engine and of whole runs share: a process group that is taken down afterwards, and an undisturbed run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seglm.utils import dist
from tests.training.processes import run_ranks


@pytest.fixture(scope="module")
def alone() -> Iterator[dist.World]:
    yield dist.start()
    dist.stop()


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks with dropout that nothing interrupts."""
    folder = tmp_path_factory.mktemp("straight")
    assert run_ranks(folder, 2, folder / "run").result["finished"]
    return folder / "run"
