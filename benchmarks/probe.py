"""One measurement of one checkout, in a process of its own; `benchmarks.compare` starts it.

    PYTHONPATH=CHECKOUT python -P benchmarks/probe.py KIND '{"option": value}'

Everything imported from `seglm` and `benchmarks` is then CHECKOUT's. A probe may only use what any two commits worth comparing
have: commands with their flags, and the few names of `benchmarks.step` and `benchmarks.loader` used here, which therefore stay.
Prints one line of JSON last: the values measured, in process CPU seconds of one thread.
"""

from __future__ import annotations

import csv
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BURN_IN = 3  # optimizer steps that are not counted


def step(repeats: int) -> dict[str, float]:
    """The median of a training step and of an answer at the baseline's size."""
    module: Any = importlib.import_module("benchmarks.step")
    tasks = module.sides(*module.model_and_examples())
    found = {}
    for name, task in (("step", "training step"), ("answer", "evaluate")):
        (runs,) = (runs for title, runs in tasks.items() if title.startswith(task))
        found[name] = _median(runs["ours"], repeats)
    return found


def loader(root: str, images: int, size: Sequence[int], repeats: int) -> dict[str, float]:
    """The median of one training sample, from files to a batch. root: an empty folder."""
    module: Any = importlib.import_module("benchmarks.loader")
    module.write_refcoco(Path(root), images, tuple(size))
    return {"loader": _median(module.side(Path(root), images, "fast"), repeats) / images}


def train(arguments: Sequence[str]) -> dict[str, float]:
    """The median optimizer step of `train_ds.py arguments`, without its loader, which has a process of its own."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    ends: list[float] = []
    register_optimizer_step_post_hook(lambda *_: ends.append(time.process_time()))
    _main("train_ds", [*arguments, "engine.workers=1"])
    taken = [after - before for before, after in zip(ends[BURN_IN:], ends[BURN_IN + 1 :], strict=False)]
    return {"train": statistics.median(taken)}


def evaluate(small: Sequence[str], large: Sequence[str]) -> dict[str, float]:
    """One expression of `evaluation.run`: what the command takes for `large` beyond what it takes for `small`, so that opening
    the model is no part of it. Each holds --out FOLDER.
    """
    taken, asked = [], []
    for arguments in (small, small, large):  # the first pays for imports
        began = time.process_time()
        _main("seglm.evaluation.run", [*arguments, "--overwrite"])
        taken.append(time.process_time() - began)
        asked.append(_expressions(Path(arguments[list(arguments).index("--out") + 1])))
    expressions = asked[2] - asked[1]
    return {"evaluate": (taken[2] - taken[1]) / expressions, "expressions": asked[2]}


def _expressions(out: Path) -> int:
    return sum(
        sum(1 for _ in csv.DictReader(file.open(encoding="utf-8"))) for file in out.glob("*/predictions.csv")
    )


def _median(run: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats + 1):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return statistics.median(taken[1:])


def _main(module: str, arguments: Sequence[str]) -> None:
    importlib.import_module(module).main(list(arguments))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    probes: dict[str, Callable[..., dict[str, float]]] = {
        probe.__name__: probe for probe in (step, loader, train, evaluate)
    }
    found = probes[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps({"from": importlib.import_module("seglm").__file__, **found}))
