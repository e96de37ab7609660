"""The machine a run is made on: what is installed, what it is called, and how time and memory are taken there."""

from __future__ import annotations

import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks.measure import ROOT

NEEDED = ("torch", "transformers", "peft", "accelerate", "segment-anything", "numpy", "matplotlib")
"""of requirements.txt, what the parts of this folder import"""
GIBI = 2**30


def missing() -> list[str]:
    """One phrase for each needed package that is absent or too old, with what is installed and what is asked for."""
    wanted = {one.name: one for one in map(Requirement, _requirements())}
    found = []
    for name in NEEDED:
        asked, have = wanted[name], installed(name)
        least = [Version(part.version) for part in asked.specifier if part.operator in (">=", "==")]
        if not have:
            found.append(f"{name} is not installed (needs {asked.specifier})")
        elif any(Version(have).release < bound.release for bound in least):
            found.append(f"{name} {have} is too old (needs {asked.specifier})")
    return found


def _requirements() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in (line.partition("#")[0].strip() for line in lines) if line]


def installed(package: str) -> str:
    """Its version, empty if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def describe(device: str) -> dict[str, str]:
    """What a table has to say about where it was made."""
    import torch

    from seglm.utils.manifest import commit

    if device == "cuda":
        about = torch.cuda.get_device_properties(0)
        name = f"{about.name}, {about.total_memory / GIBI:.0f} GiB, driver {_driver() or 'unknown'}"
    else:
        name = f"CPU ({platform.processor() or platform.machine()}, {torch.get_num_threads()} threads)"
    packages = ("torch", "transformers", "peft", "flash-attn", "triton")
    return {
        "device": name,
        "software": ", ".join(
            [f"Python {platform.python_version()}", *(f"{one} {installed(one) or '-'}" for one in packages)]
        ),
        "CUDA": torch.version.cuda or "-",
        "commit": commit() or "unknown",
        "date": time.strftime("%Y-%m-%d"),
    }


def _driver() -> str:
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[0].strip()


@dataclass(frozen=True)
class Clock:
    """Time and memory of one device."""

    device: str

    def synchronize(self) -> None:
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], *, repeats: int, warm_up: int = 1) -> float:
        """Median wall-clock seconds until the device has done what `run` asks."""
        taken = []
        for _ in range(warm_up + repeats):
            self.synchronize()
            began = time.perf_counter()
            run()
            self.synchronize()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken[warm_up:])

    def forget(self) -> None:
        """Frees what is not referenced and starts counting the peak anew."""
        import gc

        import torch

        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> float | None:
        """Most GiB allocated on the device since `forget`; None on a CPU."""
        import torch

        return torch.cuda.max_memory_allocated() / GIBI if self.device == "cuda" else None
