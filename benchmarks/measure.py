"""What every benchmark of this folder measures with: sides taken in turn, and the peak memory of a process of its own."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def in_turn(sides: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Process CPU seconds of each side, one value a repeat; A, B, A, B, after one round that is thrown away."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats + 1):
        for name, run in sides.items():
            began = time.process_time()
            run()
            if number:
                taken[name].append(time.process_time() - began)
    return taken


def ratios(before: Sequence[float], after: Sequence[float]) -> str:
    """How many times faster: the median over repeats, and the least and the largest."""
    found = [one / other for one, other in zip(before, after, strict=True)]
    return f"x{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_mebibytes() -> float:
    """Most memory this process ever held. Not `ru_maxrss`: a child begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def peak_of_child(module: str, *arguments: str) -> float:
    """Peak MiB of `python -m module arguments`, which prints it last.

    Raises RuntimeError with what the child said if it fails.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])
