"""The field's launchers start the same run: deepspeed, torchrun, plain python; one node or two; stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from seglm.training import saves
from seglm.training.curve import read

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "tests" / "training" / "train.py")
PYTHON = [sys.executable]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
OURS = [sys.executable, "-m", "seglm.utils.launch"]  # NGPU processes
DEEPSPEED = [sys.executable, "-m", "deepspeed.launcher.runner"]
FORTY = ("dropout=0.3", "epochs=1", "per_epoch=40", "images=4", "workers=1")  # steps
SETTINGS = ("dropout=0", "epochs=2", "images=4")
TIMEOUT = 600  # seconds; minutes of imports on a busy machine
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * TIMEOUT)]


def environment() -> Mapping[str, str]:
    """Without what another launcher may have left."""
    gone = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    kept = {name: value for name, value in os.environ.items() if name not in gone}
    return {**kept, "OMP_NUM_THREADS": "1", "NGPU": "2", "PYTHONPATH": str(ROOT)}


def port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start(line: list[str], log: Path) -> subprocess.Popen[bytes]:
    with open(log, "wb") as output:
        return subprocess.Popen(
            line,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            start_new_session=True,
        )


def result(process: subprocess.Popen[bytes], log: Path) -> dict[str, object]:
    code = process.wait(TIMEOUT)
    text = log.read_text()
    assert code == 0, text[-3000:]
    return dict(
        json.loads(next(line[line.index("{") :] for line in text.splitlines() if '{"finished"' in line))
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`python train.py RUN`: one process, no launcher."""
    folder = tmp_path_factory.mktemp("alone")
    assert result(
        start([*PYTHON, SCRIPT, str(folder / "run"), *SETTINGS], folder / "out.txt"), folder / "out.txt"
    )
    return folder / "run"


def same(run: Path, alone: Path) -> None:
    """The run's losses are the one process's; one log, one checkpoint, one portable checkpoint."""
    want, got = read(alone / "metrics.csv"), read(run / "metrics.csv")
    assert [row["step"] for row in got] == [row["step"] for row in want]
    assert [row["loss"] for row in got] == pytest.approx([row["loss"] for row in want], rel=1e-6)
    assert [row["giou"] for row in read(run / "scores.csv")] == pytest.approx(
        [row["giou"] for row in read(alone / "scores.csv")], rel=1e-6
    )
    assert len(list(run.glob("events.out*"))) == 1
    assert (run / "log.txt").read_text().count("train step 8/8") == 1
    assert sorted(path.name for path in run.iterdir() if path.is_dir()) == ["ckpt_model", "portable", "slots"]


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param([*TORCHRUN, "--nproc_per_node", "2", "--master_port", "{port}"], id="torchrun"),
        pytest.param([*DEEPSPEED, "--num_gpus", "2", "--master_port", "{port}"], id="deepspeed"),
    ],
)
def test_two_processes_under_a_launcher_train_as_one(
    launcher: list[str], alone: Path, tmp_path: Path
) -> None:
    line = [word.format(port=port()) for word in launcher]
    log = tmp_path / "out.txt"
    assert result(start([*line, SCRIPT, str(tmp_path / "run"), *SETTINGS], log), log)["finished"]
    same(tmp_path / "run", alone)


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_two_nodes_train_as_one(launcher: str, alone: Path, tmp_path: Path) -> None:
    """Two launchers on one machine that take themselves for two, as without ssh or under SLURM."""
    meet, run = port(), tmp_path / "run"
    hostfile = tmp_path / "hosts"
    hostfile.write_text("localhost slots=1\n127.0.0.1 slots=1\n")
    logs, processes = [], []
    for rank in ("0", "1"):
        if launcher == "torchrun":
            line = [*TORCHRUN, "--nnodes", "2", "--node_rank", rank, "--nproc_per_node", "1"]
            line += ["--master_addr", "127.0.0.1", "--master_port", meet]
        else:
            line = [*DEEPSPEED, f"--hostfile={hostfile}", "--no_ssh", f"--node_rank={rank}"]
            line += ["--master_addr=127.0.0.1", f"--master_port={meet}"]
        logs.append(tmp_path / f"out{rank}.txt")
        processes.append(start([*line, SCRIPT, str(run), *SETTINGS], logs[-1]))
    assert result(processes[0], logs[0])["finished"]
    assert processes[1].wait(TIMEOUT) == 0, logs[1].read_text()[-3000:]
    same(run, alone)


@pytest.mark.parametrize(
    "launcher, whole_group",
    [
        (PYTHON, False),
        ([*DEEPSPEED, "--num_gpus", "2", "--master_port", "{port}"], True),
        (OURS, False),
        (OURS, True),
    ],
    ids=["python", "deepspeed, all told", "ours", "ours, all told"],
)
def test_sigterm_saves_and_the_run_goes_on_to_the_bit(
    launcher: list[str], whole_group: bool, undisturbed: Mapping[bool, Path], tmp_path: Path
) -> None:
    """With loader processes. SLURM tells every process, a container and a supervisor tell the first one alone."""
    start_line = [word.format(port=port()) for word in launcher]
    run, log = tmp_path / "run", tmp_path / "out.txt"
    process = start([*start_line, SCRIPT, str(run), *FORTY, "seconds=0.1"], log)
    deadline = time.monotonic() + TIMEOUT
    while len(read(run / "metrics.csv")) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    for told in below(process.pid) if whole_group else [process]:
        os.kill(told.pid, signal.SIGTERM)
    process.wait(TIMEOUT)
    # Our launcher is the last to go. DeepSpeed's is the first.
    while launcher[: len(OURS)] != OURS and not is_stopped(run) and time.monotonic() < deadline:
        time.sleep(0.1)
    last = saves.newest(run)
    assert is_stopped(run) and last is not None and 3 <= last.step < 40, log.read_text()[-3000:]
    assert result(start([*start_line, SCRIPT, str(run), *FORTY, "resume=1"], log), log)["finished"]
    columns = ("step", "loss", "grad_norm", "lr")
    want, got = (
        [[row[name] for name in columns] for row in read(path / "metrics.csv")]
        for path in (undisturbed[launcher == PYTHON], run)
    )
    assert got == want


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[bool, Path]:
    """The run in one process, and in two."""
    runs = {alone: tmp_path_factory.mktemp("undisturbed") for alone in (True, False)}
    for alone, folder in runs.items():
        log = folder / "out.txt"
        assert result(start([*(PYTHON if alone else OURS), SCRIPT, str(folder / "run"), *FORTY], log), log)
    return {alone: folder / "run" for alone, folder in runs.items()}


def is_stopped(run: Path) -> bool:
    return "stopped after step" in (run / "log.txt").read_text()


def below(pid: int) -> list[psutil.Process]:
    """A process and all that it has started, by whatever way."""
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
