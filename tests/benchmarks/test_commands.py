"""Every benchmark that README.md or docs/ print a command for runs, as printed, with flags behind it that make it small."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.documented import ALL
from tests.house.tree import ROOT

SMALL = {
    "benchmarks.step": "--size tiny --repeats 1",
    "benchmarks.loader": "--size 64 96 --images 2 --repeats 1",
    "benchmarks.video_loader": "--size 64 96 --images 2 --repeats 1",
    "benchmarks.video": "--model tiny --size 48 64 --frames 5 --expressions 2 --repeats 1",
    "benchmarks.turns": "--model tiny --size 48 64 --frames 5 --expressions 2 --repeats 1",
    "benchmarks.busy": "--busy 1 --repeats 1",
    "benchmarks.index": "--videos 3000 --expressions 10",
    "benchmarks.jf": "--sizes 60x80 --frames 6 --objects 2 --repeats 1",
    "benchmarks.propagate": "--objects 2 --frames 3 --repeats 1 --long 1100",
    "benchmarks.padding": "--dataset_dir {folder}/toy --size tiny --budgets 400 --batches 2 --repeats 1",
    "benchmarks.attention": "--dataset_dir {folder}/toy --recipes lisa_tiny --batches 1 --dialogues 4 --repeats 1",
    "benchmarks.gpu": "--size tiny --device cpu --minutes 60 --out {folder}",
    "benchmarks.compare": f"--other {shlex.quote(str(ROOT))} --repeats 1 --parts loader,train,evaluate --steps 6 --images 8",
}
SAYS = {
    "benchmarks.step": "1.00x ours",
    "benchmarks.loader": "x1.00",
    "benchmarks.video_loader": "x1.00",
    "benchmarks.video": "x1.00",
    "benchmarks.turns": "x1.00",
    "benchmarks.busy": "asleep",
    "benchmarks.index": "opens it",
    "benchmarks.jf": "PNGs 60x80",
    "benchmarks.propagate": "at the end",
    "benchmarks.padding": "row_tokens   400",
    "benchmarks.attention": "4 dialogues, read",
    "benchmarks.gpu": "## generation (done",
    "benchmarks.compare": "evaluate",
}
PRINTED = sorted({one.line for one in ALL if one.line.startswith("python -m benchmarks.")})


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", PRINTED)
def test_a_benchmark_command_that_a_document_prints_runs(command: str, tmp_path: Path) -> None:
    _, _, module, *words = shlex.split(command)
    assert module in SMALL, f"docs print {command!r}; say here how it runs in a minute"
    if "{folder}/toy" in SMALL[module]:
        sizes = ["--images", "240", "--val_images", "4", "--test_images", "4"]
        world = [sys.executable, "-m", "seglm.dataset.toy", "--dataset_dir", str(tmp_path / "toy"), *sizes]
        subprocess.run(world, cwd=ROOT, capture_output=True, check=True)
    small = SMALL[module].format(folder=shlex.quote(str(tmp_path)))
    line = [sys.executable, "-m", module, *words, *shlex.split(small)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert SAYS[module] in done.stdout


def test_the_documents_print_a_command_for_every_benchmark() -> None:
    assert {command.split()[2] for command in PRINTED} == set(SMALL)
