"""Opening a benchmark of a million expressions: what each process of a run does, workers included, before its first sample.

    python -m benchmarks.index

A file in MeViS' layout is written, and opened by two processes, one after the other: the first reads it and keeps the index, the
second finds that. Prints for each when the benchmark is open and when it has given one sample from its middle, and by how much
its resident memory grew; beside it what reading the JSON alone takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmarks.measure import ROOT, resident
from seglm.utils.flags import Parser

SPEC = "mevis|valid"
FRAMES = ("00000", "00001")


def write(root: Path, videos: int, expressions: int) -> Path:
    """MeViS' file of expressions for so many videos of so many; of the one in the middle the frames are there."""
    home = root / "mevis" / "valid"
    middle = home / "JPEGImages" / name(videos // 2)
    middle.mkdir(parents=True)
    for frame in FRAMES:
        Image.new("RGB", (64, 48)).save(middle / f"{frame}.jpg")
    said = {
        str(number): {"exp": f"thing number {number} that moves to the left"} for number in range(expressions)
    }
    one = {"expressions": said, "frames": list(FRAMES)}
    file = home / "meta_expressions.json"
    file.write_text(json.dumps({"videos": {name(number): one for number in range(videos)}}))
    return file


def name(number: int) -> str:
    return f"video{number:07d}"


def opened(root: Path) -> None:
    """One process of a run; prints what it took."""
    from seglm.evaluation.asking.benchmark import benchmark

    chosen, before, began = benchmark(SPEC), resident(), time.perf_counter()
    selection = chosen.open(root)
    count, ready = len(selection), time.perf_counter()
    sample = selection.sample(count // 2)
    sampled = time.perf_counter()
    assert sample.num_frames == len(FRAMES), sample
    print(json.dumps([ready - began, sampled - began, (resident() - before) / 2**20]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="python -m benchmarks.index",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--expressions", type=int, default=10, help="of each video")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)  # of a process that opens it
    given = parser.parse_args(arguments)
    if given.root:
        opened(given.root)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), given.videos, given.expressions)
        print(
            f"{given.videos * given.expressions:,} expressions of {given.videos:,} videos, {file.stat().st_size / 1e6:.0f} MB"
        )
        for what in ("makes the index", "opens it"):
            command = [sys.executable, "-m", "benchmarks.index", "--root", folder]
            cached = {**os.environ, "SEGLM_CACHE": f"{folder}/cache"}
            done = subprocess.run(command, cwd=ROOT, env=cached, capture_output=True, text=True, check=True)
            ready, sampled, grown = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{what:16} open after {1e3 * ready:9.1f} ms, a sample after {1e3 * sampled:9.1f} ms, grew by {grown:7.1f} MiB"
            )
        began = time.perf_counter()
        json.loads(file.read_text())
        print(f"reading the JSON alone {1e3 * (time.perf_counter() - began):9.1f} ms")


if __name__ == "__main__":
    main()
