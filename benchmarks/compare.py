"""This checkout against another one, in one run: is a step, a loaded sample or a scored expression slower than it was?

    git worktree add ../before COMMIT
    python -m benchmarks.compare --other ../before [--repeats 3] [--parts step,loader,train,evaluate]

A/B/A/B: each repeat starts a process for each checkout and part (`benchmarks/probe.py`), with one thread, and takes process CPU
seconds. Ratios are other / this, above 1 where this checkout is faster: of the medians, and the least and largest of one repeat.
  step      training step and answer of `benchmarks.step` at the baseline's size
  loader    a sample of `benchmarks.loader`
  train     an optimizer step of `train_ds.py --recipe lisa_tiny` on the toy world
  evaluate  an expression of `python -m seglm.evaluation.run` on the toy world; both score one merged folder, which the other
            checkout trains and writes, so that it may be the older one
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT
from seglm.utils.flags import Parser

PARTS = ("step", "loader", "train", "evaluate")
SMALL_WORLD = 4  # pictures of each validation split of the world whose time is taken off
PROBE = Path(__file__).with_name("probe.py")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    other: Path
    repeats: int
    steps: int
    """optimizer steps of a training"""
    images: int
    """pictures of each validation split of the toy world"""


def run(checkout: Path, *command: str | Path, cwd: Path | None = None) -> str:
    """What a command prints, with the checkout's code and one thread. Raises RuntimeError with the end of what it said."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"
    }  # fmt: skip
    line = [sys.executable, *map(str, command)]
    done = subprocess.run(
        line, cwd=cwd or checkout, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"{checkout}: {' '.join(line)} ended with {done.returncode}:\n{said}")
    return done.stdout


def probe(checkout: Path, kind: str, **options: Any) -> dict[str, float]:
    """One measurement. Raises RuntimeError if the process took its code from elsewhere."""
    said = run(checkout, "-P", PROBE, kind, json.dumps(options))
    found = json.loads(said.splitlines()[-1])
    source = Path(found.pop("from")).resolve()
    if checkout.resolve() not in source.parents:
        raise RuntimeError(f"{checkout} was to be measured, but the code came from {source}")
    return {name: float(value) for name, value in found.items()}


class Bench:
    """The parts, and what they need on disk; both checkouts read the same files."""

    def __init__(self, plan: Plan, place: Path) -> None:
        self.plan, self.place = plan, place

    def prepare(self, parts: Sequence[str]) -> None:
        """The other checkout writes the toy worlds and, to be scored, a merged model."""
        if not {"train", "evaluate"} & set(parts):
            return
        for name, images in (("small", SMALL_WORLD), ("large", self.plan.images)):
            sizes = ("--images", "240", "--val_images", str(images), "--test_images", "4")
            run(self.plan.other, "-m", "seglm.dataset.toy", "--dataset_dir", self.place / name, *sizes)
        if "evaluate" in parts:
            self.train(self.plan.other, "model")
            merge = self.plan.other / "merge_lora_weights_and_save_hf_model.py"
            weight = self.place / "runs" / "model" / "portable"
            run(self.plan.other, merge, "--weight", weight, "--save_path", self.place / "merged")

    def measure(self, part: str, checkout: Path, name: str) -> dict[str, float]:
        """One measurement of one checkout. name: of this measurement, for its files."""
        if part == "step":
            return probe(checkout, part, repeats=self.plan.repeats)
        if part == "loader":
            root = str(self.place / f"refcoco_{name}")
            return probe(checkout, part, root=root, images=16, size=(480, 640), repeats=self.plan.repeats)
        return self.train(checkout, name) if part == "train" else self.evaluate(checkout, name)

    def train(self, checkout: Path, name: str) -> dict[str, float]:
        arguments = [
            "--recipe=lisa_tiny",
            f"--dataset_dir={self.place / 'large'}",
            f"--log_base_dir={self.place / 'runs'}",
            f"--exp_name={name}",
            "--epochs=1",
            f"--steps_per_epoch={self.plan.steps}",
            "--no_eval",
        ]
        taken = probe(checkout, "train", arguments=arguments)
        with (self.place / "runs" / name / "metrics.csv").open(encoding="utf-8") as file:
            return {**taken, "loss": float(list(csv.DictReader(file))[-1]["loss"])}

    def evaluate(self, checkout: Path, name: str) -> dict[str, float]:
        def arguments(world: str) -> list[str]:
            return [
                *("--version", str(self.place / "merged")),
                *("--dataset_dir", str(self.place / world)),
                *("--val_dataset", "ReasonSeg|val,refcoco|unc|val"),
                *("--out", str(self.place / "eval" / f"{name}_{world}")),
            ]

        return probe(checkout, "evaluate", small=arguments("small"), large=arguments("large"))


def line(name: str, other: Sequence[float], this: Sequence[float]) -> str:
    """A row of the table; of what is no time, what both sides have, so that one sees that they did the same work.

    Raises RuntimeError if they did not score the same number of expressions.
    """
    if name == "loss":
        return f"  (last reported loss {other[0]:.5g} and {this[0]:.5g})"
    if name == "expressions":
        if set(other) != set(this):
            raise RuntimeError(f"the other checkout asks {set(other)} expressions, this one {set(this)}")
        return f"  (of {this[0]:.0f} expressions)"
    ratios = [before / after for before, after in zip(other, this, strict=True)]
    before, after = statistics.median(other), statistics.median(this)
    return (
        f"{name:10}{1e3 * before:10.2f}{1e3 * after:10.2f}{1 / after:10.2f}/s   x{before / after:.3f}"
        f"  ({min(ratios):.3f}-{max(ratios):.3f})"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--other", type=Path, required=True, help="the other checkout, usually the older one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them, with commas")
    parser.add_argument("--steps", type=int, default=150, help="optimizer steps of each training")
    parser.add_argument("--images", type=int, default=40, help="toy pictures of each validation split")
    options = parser.parse_args(arguments)
    parts = options.parts.split(",")
    if wrong := set(parts) - set(PARTS):
        parser.error(f"--parts: {', '.join(sorted(wrong))} is none of {', '.join(PARTS)}")
    for name, least in (("repeats", 1), ("steps", 5), ("images", SMALL_WORLD + 1)):
        if (given := getattr(options, name)) < least:
            parser.error(f"--{name} {given}: at least {least}")
    if not (options.other / "train_ds.py").is_file():
        parser.error(f"--other: {options.other} is no checkout; there is no train_ds.py in it")
    plan = Plan(options.other.resolve(), options.repeats, options.steps, options.images)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(plan, Path(folder))
        bench.prepare(parts)
        print(f"{'CPU ms':10}{'other':>10}{'this':>10}{'this':>12}   other / this", flush=True)
        for part in parts:
            taken: dict[str, dict[str, list[float]]] = {"other": {}, "this": {}}
            for number in range(plan.repeats):
                for side, checkout in (("other", plan.other), ("this", ROOT)):
                    for name, value in bench.measure(part, checkout, f"{side}_{number}").items():
                        taken[side].setdefault(name, []).append(value)
            for name in taken["this"]:
                print(line(name, taken["other"][name], taken["this"][name]), flush=True)


if __name__ == "__main__":
    main()
