"""A disk that fills up: the last good save stands, nothing half-written stays, and the error says where and how much."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seglm.training import saves
from seglm.utils.atomic import full_disk, write_atomic, write_folder
from tests.training.processes import run_ranks
from tests.training.test_trainer import numbers

pytestmark = pytest.mark.timeout(900)
WHOLE = 300  # KiB that two saves, the best state and the curve of the two-term module take


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """KiB -> a small disk of that size; a second call makes it larger."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(size: int) -> Path:
        again = "remount," if place.is_mount() else ""
        line = ["mount", "-t", "tmpfs", "-o", f"{again}size={size}k", "none", str(place)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
        return place

    yield sized
    subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)


def halves(run: Path) -> list[str]:
    """What a write left that did not get to its end."""
    found = [path for path in run.rglob("*") if path.suffix in (".new", ".old")]
    found += [slot for slot in (run / "slots").glob("*") if not (slot / saves.COMPLETE).exists()]
    return [str(path.relative_to(run)) for path in found]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    run_ranks(folder, 1, folder / "run").result  # noqa: B018
    return folder / "run"


SIZES = range(40, WHOLE, 20)
OFTEN = (60, 120, 160, 240)


@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=() if size in OFTEN else pytest.mark.slow) for size in SIZES]
)
def test_a_run_on_a_full_disk_keeps_its_last_save_and_goes_on_when_there_is_room(
    size: int, disk: Callable[[int], Path], alone: Path, tmp_path: Path
) -> None:
    run = disk(size) / "run"
    ended = run_ranks(tmp_path, 1, run)
    assert ended.codes == (1,), "make WHOLE smaller"
    said = rf"{run}: the disk is full \(.*\): a save needs [\d.]+ [KM]iB beside what is there, [\d.]+ KiB are left \(less"
    assert re.search(said, ended.text), ended.text
    assert "Logging error" not in ended.text and not halves(run)
    disk(4 * WHOLE)
    last = saves.newest(run)
    assert f"keeps step {last.step}; go on" in ended.text if last else "holds no checkpoint yet" in ended.text
    run_ranks(tmp_path, 1, run, "resume=1" if last else "overwrite=1").result  # noqa: B018
    assert numbers(run) == numbers(alone)
    assert {path.name for path in (run / "slots").iterdir()} == {"a", "b"}


def test_a_save_that_will_not_fit_is_not_begun(disk: Callable[[int], Path], tmp_path: Path) -> None:
    """Two ranks: both end with the error, none waits for the other."""
    run = disk(4 * WHOLE) / "run"
    run_ranks(tmp_path, 2, run, "epochs=1").result  # noqa: B018
    (run.parent / "another").write_bytes(bytes(shutil.disk_usage(run).free - 60 * 1024))
    ended = run_ranks(tmp_path, 2, run, "epochs=2", "resume=1")
    assert ended.codes == (1, 1) and ended.text.count("RuntimeError: ") == 2, ended.text
    assert not halves(run) and (last := saves.newest(run)) is not None and last.step == 4


@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save(torch.zeros(10**6), path),
        lambda path: torch.save(torch.zeros(10**6), path, _use_new_zipfile_serialization=False),
        lambda path: save_file({"a": torch.zeros(10**6)}, path),
        lambda path: write_atomic(path, "a" * 10**6),
        lambda path: write_folder(path, lambda fresh: write_atomic(fresh / "a", bytes(10**6))),
    ],
    ids=["torch", "torch of old", "safetensors", "a file", "a folder"],
)
def test_every_kind_of_write_says_that_the_disk_is_full(
    write: Callable[[Path], None], disk: Callable[[int], Path]
) -> None:
    place = disk(64)
    with pytest.raises(Exception) as error:
        write(place / "it")
    assert full_disk(error.value)
    assert {path.name for path in place.iterdir()} <= {"it"}


def test_another_error_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    for error in (FileNotFoundError(2, "No such file"), RuntimeError("CUDA error"), ValueError("full")):
        assert not full_disk(error)
