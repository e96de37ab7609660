"""Evaluation on a machine that is busy: what a second thread is worth while other processes want the same cores.

    python -m benchmarks.busy [--busy 2] [--repeats 3]

Scores a tiny model on a toy world, in a process of its own each time, with one thread and with two, which wait in two ways:
spinning, as OpenMP does unless it is told otherwise, and asleep, as `seglm/utils/threads.py` settles it for every command. Prints
expressions a second of wall time (medians), and the ratio of two threads to one, beside `--busy` processes that never rest; with
`--busy 0` beside whatever else the machine does. Sides are taken in turn, so that all of them meet the same neighbours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.compare import run
from benchmarks.measure import ROOT
from seglm.utils.flags import Parser

SPINS = {"GOMP_SPINCOUNT": "300000"}  # libgomp's own number where no policy is given; it wins over the policy
WAITS: dict[str, dict[str, str]] = {"spinning": SPINS, "asleep": {}}
BENCHMARK = "refcoco|unc|val"
NEW_TOKENS = 16
NEVER_RESTS = (
    "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"  # and ends with who started it
)


def prepare(place: Path) -> None:
    """A toy world, and a model of a few steps, merged."""
    world = place / "toy"
    run(ROOT, "-m", "seglm.dataset.toy", "--dataset_dir", world, "--images", "60", "--val_images", "12")
    run(
        ROOT,
        *(
            ROOT / "train_ds.py",
            "--recipe=lisa_tiny",
            f"--dataset_dir={world}",
            "--exp_name=model",
            "--no_eval",
        ),
        *(f"--log_base_dir={place}", "--epochs=1", "--steps_per_epoch=2"),
    )
    merge = ROOT / "merge_lora_weights_and_save_hf_model.py"
    run(ROOT, merge, "--weight", place / "model" / "portable", "--save_path", place / "merged")


def score(place: Path) -> float:
    """Expressions a second, this process; the first round is thrown away."""
    from seglm.utils.threads import settle

    settle()
    from seglm.evaluation.asking.evaluate import evaluate
    from seglm.model.load import load

    model, recipe = load(str(place / "merged"))
    # A model of a few steps does not know when to end.
    model.recipe = replace(recipe, evaluate=replace(recipe.evaluate, max_new_tokens=NEW_TOKENS))
    rates = []
    for _ in range(2):
        began = time.perf_counter()
        scores = evaluate(model, BENCHMARK, dataset_dir=place / "toy")
        rates.append(scores.all.n / (time.perf_counter() - began))
    return rates[-1]


@contextmanager
def neighbours(number: int) -> Iterator[None]:
    """Inside, so many processes take all the time they get."""
    started = [subprocess.Popen([sys.executable, "-c", NEVER_RESTS]) for _ in range(number)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def rate(place: Path, *, threads: int, waits: str) -> float:
    """What `score` says in a process with so many threads."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"} | WAITS[waits]
    command = [sys.executable, "-m", "benchmarks.busy", "--score", str(place)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=600
    )
    return float(done.stdout.split()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="python -m benchmarks.busy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--busy", type=int, default=2, help="processes beside it (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.score:
        print(score(options.score))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        sides = [(waits, threads) for waits in WAITS for threads in (1, 2)]
        taken: dict[tuple[str, int], list[float]] = {side: [] for side in sides}
        with neighbours(options.busy):
            for _ in range(options.repeats):
                for waits, threads in sides:
                    taken[waits, threads].append(rate(Path(folder), threads=threads, waits=waits))
    print(f"expressions a second beside {options.busy} busy processes, {os.cpu_count()} cores")
    for waits in WAITS:
        one, two = (statistics.median(taken[waits, threads]) for threads in (1, 2))
        print(f"{waits:10} 1 thread {one:8.2f}   2 threads {two:8.2f}   x{two / one:.2f}")


if __name__ == "__main__":
    main()
