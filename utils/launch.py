"""The command that starts training on one machine or many, built in one place: `python -m seglm.utils.launch train_ds.py ...`.

`--print` as the first argument prints the command instead of running it. What the environment says:

    NGPU                    processes on a machine; without it all GPUs, or one process where there is no GPU
    HOSTFILE                DeepSpeed's hostfile (`name slots=8` a line): several machines, reached by ssh
    NODE_RANK               with HOSTFILE: no ssh, this launcher starts the processes of one machine only
    MASTER_ADDR MASTER_PORT where the processes meet
    SLURM_*                 under `srun --ntasks-per-node=1`: all of the above follows from the job
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil

from seglm.utils.command import BY_SIGNAL
from seglm.utils.command import command as one_line
from seglm.utils.threads import settle

LAST_PORT = 65535
DEFAULT_PORT = "29500"  # DeepSpeed's own; all machines of a run must agree, so only a run on one machine takes a free one

ASKING = frozenset({"--help", "-h", "--list"})
"""flags that only print something: no launcher is needed"""
READS_FLAGS = "train_ds.py"
"""the script whose `--list` reads all other arguments first"""


@dataclass(frozen=True)
class Nodes:
    """The machines of a run, as far as this launcher has to say it."""

    hostfile: str | None = None
    """path of DeepSpeed's hostfile, None on a single machine"""
    rank: int | None = None
    """which machine this is; None: DeepSpeed starts all of them by ssh"""
    address: str | None = None
    """name of the first machine"""


def command(
    script: str, arguments: Sequence[str], *, nodes: Nodes, processes: int | None, port: str
) -> list[str]:
    """The launcher's command line.

    processes: on each machine; None leaves it to DeepSpeed (all devices, or what CUDA_VISIBLE_DEVICES and the hostfile say).
    Raises ValueError if this machine's rank is given without the address of the first.
    """
    # Not the `deepspeed` script: its first line breaks where the path of the environment has a space.
    line = [sys.executable, "-m", "deepspeed.launcher.runner", f"--master_port={port}"]
    if processes is not None:
        line.append(f"--num_gpus={processes}")
    if nodes.hostfile is not None:
        line.append(f"--hostfile={nodes.hostfile}")
        if nodes.address:
            line.append(f"--master_addr={nodes.address}")
        if nodes.rank is not None:
            if not nodes.address:
                raise ValueError(f"NODE_RANK={nodes.rank} needs MASTER_ADDR, the name of the first machine")
            line += ["--no_ssh", f"--node_rank={nodes.rank}"]
    return [*line, script, *arguments]


def slurm_nodes(env: Mapping[str, str], hosts: Sequence[str], folder: Path) -> Nodes:
    """The machines of a SLURM step that runs one launcher on each; writes the hostfile into `folder`.

    env: the step's environment. hosts: its machines by name, in order.
    Raises ValueError where the number of GPUs is unknown, or the step has several tasks on a machine.
    """
    tasks = env.get("SLURM_STEP_TASKS_PER_NODE", "1")
    if not re.fullmatch(r"1(\(x\d+\))?", tasks):
        raise ValueError(
            f"SLURM_STEP_TASKS_PER_NODE={tasks}: one launcher a machine; use srun --ntasks-per-node=1"
        )
    slots = (
        env.get("NGPU") or env.get("SLURM_GPUS_ON_NODE") or env.get("SLURM_GPUS_PER_NODE", "").split(":")[-1]
    )
    if not slots.isdigit() or slots == "0":
        raise ValueError(
            "how many GPUs a machine has is not known: ask for them with --gpus-per-node, or set NGPU"
        )
    hostfile = folder / f"seglm-hostfile-{env.get('SLURM_JOB_ID', '0')}-{env.get('SLURM_NODEID', '0')}"
    hostfile.write_text("".join(f"{host} slots={slots}\n" for host in hosts), encoding="utf-8")
    return Nodes(str(hostfile), _number(env, "SLURM_NODEID"), env.get("MASTER_ADDR") or hosts[0])


def find_nodes(env: Mapping[str, str]) -> Nodes:
    """The machines this environment speaks of.

    Raises ValueError for a SLURM job of several machines that was not started by srun: the others would never come.
    """
    if env.get("HOSTFILE"):
        machines = count_machines(env["HOSTFILE"])
        rank = _number(env, "NODE_RANK", most=machines - 1) if env.get("NODE_RANK") else None
        return Nodes(env["HOSTFILE"], rank, env.get("MASTER_ADDR"))
    if env.get("NODE_RANK") and _number(env, "NODE_RANK") > 0:
        raise ValueError(
            f"NODE_RANK={env['NODE_RANK']} needs HOSTFILE, the file that names all machines; unset it on a single machine"
        )
    if "SLURM_STEP_NODELIST" in env and _number(env, "SLURM_STEP_NUM_NODES", default=1) > 1:
        names = subprocess.run(
            ["scontrol", "show", "hostnames", env["SLURM_STEP_NODELIST"]],
            check=True,
            capture_output=True,
            text=True,
        )
        return slurm_nodes(env, names.stdout.split(), Path(tempfile.gettempdir()))
    if _number(env, "SLURM_NNODES", default=1) > 1:
        raise ValueError(
            f"the SLURM job has {env['SLURM_NNODES']} machines but only this one was asked to start; "
            "use `srun --ntasks-per-node=1 bash run_train.sh ...`"
        )
    return Nodes()


def find_processes(env: Mapping[str, str], nodes: Nodes) -> int | None:
    """How many processes on each machine; None where DeepSpeed finds it out itself."""
    if env.get("NGPU"):
        return _number(env, "NGPU", least=1)
    if nodes.hostfile is not None or env.get("CUDA_VISIBLE_DEVICES"):
        return None
    import torch

    return torch.cuda.device_count() or 1


def count_machines(path: str) -> int:
    """How many machines DeepSpeed's hostfile names. Raises ValueError if it is not there, or names none, or not as it should.

    DeepSpeed itself takes a file that is not there for "this machine alone".
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"HOSTFILE={path}: {getattr(error, 'strerror', None) or error}") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in lines:
        if not re.fullmatch(r"\S+\s+slots=0*[1-9]\d*", line.strip()):
            raise ValueError(f"HOSTFILE={path}: {line!r} is no line of a hostfile; each is `name slots=8`")
    names = [line.split()[0] for line in lines]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"HOSTFILE={path}: it names {', '.join(twice)} twice; each machine has one line")
    if not lines:
        raise ValueError(f"HOSTFILE={path}: it names no machine; each line is `name slots=8`")
    return len(lines)


def _number(
    env: Mapping[str, str], name: str, *, least: int = 0, most: int | None = None, default: int | None = None
) -> int:
    """What a variable says. Raises ValueError that names it."""
    text = env.get(name, "" if default is None else str(default))
    if not text.isdecimal() or not least <= int(text) or (most is not None and int(text) > most):
        to = "" if most is None else f" to {most}"
        raise ValueError(f"{name}={text}: it has to be a number from {least}{to}")
    return int(text)


def free_port() -> str:
    """A port nobody listens on, so that two runs on one machine do not meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@one_line
def main(argv: Sequence[str]) -> None:
    """Replaces this process by the launcher."""
    only_print = argv[:1] == ["--print"]
    if len(argv) == only_print:
        raise ValueError("what is to be started? python -m seglm.utils.launch train_ds.py --recipe ...")
    script, *arguments = argv[1:] if only_print else argv
    if ASKING & set(arguments):
        os.execv(sys.executable, [sys.executable, script, *arguments])
    nodes = find_nodes(os.environ)
    processes = find_processes(os.environ, nodes)
    port = free_port() if nodes.hostfile is None else DEFAULT_PORT
    if os.environ.get("MASTER_PORT"):
        port = str(_number(os.environ, "MASTER_PORT", least=1, most=LAST_PORT))
    line = command(script, arguments, nodes=nodes, processes=processes, port=port)
    if only_print:
        print(shlex.join(line))
        return
    if Path(script).name == READS_FLAGS and (refused := check(script, arguments)):
        sys.exit(refused)
    # One process under DeepSpeed's launcher gets no limit at all, and many threads on few cores are slower than one.
    settle(processes or 1)
    if nodes.hostfile is not None and nodes.rank is None:
        os.execv(line[0], line)  # by ssh: DeepSpeed passes signals on itself
    sys.exit(run(line))


def check(script: str, arguments: Sequence[str]) -> int:
    """Lets the script read its arguments and do nothing else; returns its exit status, and its refusal stands on stderr.

    Two seconds; under the launcher the same refusal takes many more, comes from every process, and DeepSpeed's words follow it.
    """
    line = [sys.executable, script, *arguments, "--list"]
    return subprocess.run(line, stdout=subprocess.DEVNULL, check=False).returncode


def run(line: Sequence[str]) -> int:
    """Starts DeepSpeed's launcher and waits for it; what this process is told, the training's processes are told.

    Returns its exit status. By itself that launcher dies of a SIGTERM and leaves the training running, and after a Ctrl-C it
    gives the terminal back at once and kills whoever has not saved within 30 seconds.
    """
    launcher: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # told before it is known whom to tell

    def pass_on(number: int, frame: FrameType | None) -> None:
        if launcher is None:
            early.append(number)
            return
        told = training_processes(launcher.pid)
        for process in told:
            with suppress(psutil.NoSuchProcess):
                # A terminal that was closed is an end like any other.
                process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)
        if not told:
            end_group(launcher.pid)

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does
            signal.signal(number, pass_on)
    # A group of its own, which the terminal's Ctrl-C does not reach.
    launcher = subprocess.Popen(line, start_new_session=True)
    for told in early:
        pass_on(told, None)
    code = launcher.wait()
    # SLURM tells everybody, and the launcher is the first to go; this process is the last, for its end is that of the job.
    psutil.wait_procs(end_group(launcher.pid))
    return code if code >= 0 else BY_SIGNAL - code


def training_processes(launcher: int) -> list[psutil.Process]:
    """Those that DeepSpeed's launcher starts through a second one, without what they have started themselves."""
    try:
        return [process for second in psutil.Process(launcher).children() for process in second.children()]
    except psutil.NoSuchProcess:
        return []


def end_group(leader: int) -> list[psutil.Process]:
    """Sends SIGTERM to the processes of a group and returns them."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == leader:
                process.terminate()
                found.append(process)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
