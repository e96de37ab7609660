"""What a function takes of memory beyond what is there when it begins, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.house.tree import ROOT

RUN = """
import importlib, sys
from pathlib import Path

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

module, _, function = sys.argv[1].partition(":")
function = getattr(importlib.import_module(module), function)
before = peak()
function(*sys.argv[2:])
print(peak() - before)
"""


def peak_growth(function: str, *arguments: str) -> int:
    """Bytes. function: `package.module:name`, which takes texts; Linux counts it, from the peak after the imports on."""
    command = [sys.executable, "-c", RUN, function, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])
