"""How many threads a process computes with, and how they wait for each other: settled once, for every command.

The threads of OpenMP spin while they wait, by default: as long as nobody else wants the cores they are a few microseconds faster,
and beside other busy processes they burn the time that the thread they wait for would need. OpenMP reads its variables when it is
loaded, with PyTorch; so no command loads PyTorch before its `main` runs (`utils/command.py`), and a test holds them to it.
"""

from __future__ import annotations

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""cgroup v2: microseconds of CPU time and the period in which they may be used, or `max` and the period"""

_settled: set[str] = set()  # variables that `settle` wrote: what the user says stays as it is


def settle(processes: int = 1) -> None:
    """Writes into the environment, for this process and those it starts, what the user has not said there.

    processes: how many share this machine's cores. Without effect on this process once PyTorch is loaded.
    """
    for name, value in variables(processes).items():
        if name not in os.environ or name in _settled:
            os.environ[name] = value
            _settled.add(name)


def variables(processes: int = 1) -> dict[str, str]:
    """The variables: OpenMP's own, which libgomp, libomp and MKL follow alike.

    The number of threads does not follow the machine's load: the order of a sum depends on it, and no run could be repeated.
    """
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(max(1, usable_cores() // processes)),
    }


def usable_cores(quota: Path = QUOTA) -> int:
    """Cores that this process may use: those it is bound to (taskset, SLURM), and no more than its container's share of time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        used, period = (int(word) for word in quota.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no cgroup v2, or `max`: no limit
        return bound
    return max(1, min(bound, -(-used // period)))
