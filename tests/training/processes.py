"""Starts the processes of a small run without a launcher's seconds: forked from a server with the heavy libraries imported."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

PRELOAD = [
    "tests.training.train",
    "deepspeed.runtime.zero.muon.original_muon",  # DeepSpeed imports it with the first engine, and torch's compiler with it
    "torch.utils.tensorboard",
    "matplotlib.backends.backend_agg",
]
TIMEOUT = 300  # seconds; a hang is a failure and not a wait


@dataclass(frozen=True)
class Ended:
    """What a run left behind."""

    codes: tuple[int | None, ...]
    """exit code of each process; -9 if it was killed, None if it hung"""
    text: str
    """all that was printed"""

    @property
    def result(self) -> dict[str, Any]:
        """The JSON line of the main process."""
        assert self.codes == (0,) * len(self.codes), self.text
        return dict(json.loads(next(line for line in self.text.splitlines() if line.startswith("{"))))


def run_ranks(
    tmp: Path,
    size: int,
    folder: Path,
    *settings: str,
    script: str = "tests.training.train",
    timeout: float = TIMEOUT,
) -> Ended:
    """`script`.main(folder, *settings) in `size` processes that meet by the variables a launcher would set."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, script])
    # The server starts with a bare sys.path (until Python 3.12); without this it preloads nothing and every child takes seconds.
    root = str(Path(__file__).parents[2])
    if root not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    outputs = [tmp / f"output{rank}.txt" for rank in range(size)]
    children = [
        context.Process(
            target=_child, args=(rank, size, port, str(outputs[rank]), script, (str(folder), *settings))
        )
        for rank in range(size)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout)
        # One that died leaves the others waiting, as a launcher would not.
        if child.exitcode != 0:
            for other in children:
                other.kill()
    for child in children:
        child.join()
    return Ended(tuple(child.exitcode for child in children), "".join(path.read_text() for path in outputs))


def _child(rank: int, size: int, port: str, output: str, script: str, arguments: tuple[str, ...]) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=port
    )
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    try:
        import_module(script).main(*arguments)
    except BaseException as error:  # noqa: BLE001  (whatever it is, the process says so and ends)
        traceback.print_exc()
        chosen = error.code if isinstance(error, SystemExit) else None
        os._exit(chosen if isinstance(chosen, int) else 1)
    # Not through interpreter shutdown: a forked child has copies of the server's threads and locks.
    os._exit(0)


def die_at(number: int) -> Callable[[], int]:
    """Kills this process with SIGKILL at its `number`-th change of a file system from now on: any moment, named by a number.

    Returns what tells how many there were.
    """
    changes = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
    left = number

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if writes or event in changes:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    return lambda: number - left
