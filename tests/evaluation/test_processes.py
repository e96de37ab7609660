"""Several processes give the score of one, to the last bit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.films import FRAMES, VIDEOS
from tests.evaluation.one_process import SAMPLES

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, size: int, what: str = "pictures") -> dict[str, bytes]:
    """The files of an evaluation on `size` processes, by name."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = [sys.executable, str(Path(__file__).with_name("one_process.py")), str(folder), what]
    started = [
        subprocess.Popen(
            script,
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
                "CUDA_VISIBLE_DEVICES": "",
                "PYTHONPATH": str(ROOT),
            },
            stderr=subprocess.PIPE,
        )
        for rank in range(size)
    ]
    errors = [process.communicate(timeout=240)[1].decode() for process in started]
    assert all(process.returncode == 0 for process in started), "\n".join(errors)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    one = run(tmp_path / "one", 1)
    assert len([name for name in one if name.startswith("masks")]) == 2 * SAMPLES
    assert {"scores.json", "scores.md", "samples.csv", "predictions.csv", "worst_and_best.png"} <= set(one)
    assert run(tmp_path / "two", 2) == one


@pytest.mark.slow
def test_two_processes_write_what_one_writes_of_videos(tmp_path: Path) -> None:
    one = run(tmp_path / "one", 1, "videos")
    assert len([name for name in one if name.startswith("masks")]) == 3 * VIDEOS * FRAMES
    assert run(tmp_path / "two", 2, "videos") == one
