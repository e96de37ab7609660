"""Five steps of a `*_tiny` recipe on the shipped bases and a small toy world, by the command a user types.

`python -m tests.golden_losses --write` makes the texts under tests/goldens/losses again; a commit that changes one says which
number, by how much and why.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import train_ds
from seglm.dataset.toy.write import write
from seglm.dataset.toy.write_videos import write_videos
from seglm.model.recipes import recipes
from seglm.training.curve import read
from seglm.training.engine import Engine, Step
from seglm.utils.command import BY_SIGNAL
from tests.training.processes import run_ranks

GOLDENS = Path(__file__).parent / "goldens" / "losses"
RECIPES = sorted(name for name in recipes() if name.endswith("_tiny"))
STOP_AFTER = 2
SETTINGS = (
    "--epochs=1",
    "--steps_per_epoch=5",
    "--batch_size=4",
    "--print_freq=1",
    "--no_eval",
    "optim.warmup_steps=2",  # the third step is the first with a learning rate: the last two losses are of moved weights
    "engine.workers=0",
)


class Stopped(Engine):
    """Gets a SIGTERM, as from a cluster whose time is up, before the last step it is to take."""

    def step(self, batches: Sequence[Any], *, stop: bool = False, save: bool = False) -> Step:
        done = super().step(batches, stop=stop, save=save)
        if done.number == STOP_AFTER - 1:
            signal.raise_signal(signal.SIGTERM)
        return done


def main(runs: str, recipe: str, data: str, *flags: str) -> None:
    """Trains; with `--stopped` among the flags only two of the five steps."""
    torch.set_num_threads(1)  # the order of a sum depends on how many share it
    if "--stopped" in flags:
        train_ds.Engine = Stopped  # type: ignore[misc]
    place = (f"--recipe={recipe}", f"--dataset_dir={data}", f"--log_base_dir={runs}")
    train_ds.main([*place, *SETTINGS, *(flag for flag in flags if flag != "--stopped")])


def losses(runs: Path, recipe: str, data: Path, *flags: str) -> Mapping[int, float]:
    """Step -> loss of a run, in a process of its own; what a run before it left is in there."""
    ended = run_ranks(runs, 1, runs, recipe, str(data), *flags, script="tests.golden_losses")
    assert ended.codes == ((BY_SIGNAL + signal.SIGTERM if "--stopped" in flags else 0),), ended.text
    return {int(row["step"]): row["loss"] for row in read(runs / recipe / "metrics.csv")}


def toy_world(folder: Path) -> Path:
    """The data of these runs; every data set has a few pictures."""
    write(folder / "data", images=60, val_images=4, test_images=4)
    write_videos(folder / "data", images=60, val_images=4, test_images=4)
    return folder / "data"


def text(found: Mapping[int, float]) -> str:
    """One line a step."""
    return "".join(f"{step} {loss:.6f}\n" for step, loss in found.items())


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.golden_losses --write")
    with TemporaryDirectory() as name:
        world = toy_world(Path(name))
        for each in RECIPES:
            found = text(losses(Path(name), each, world))
            (GOLDENS / f"{each}.txt").write_text(found, encoding="ascii")
            print(f"{each}\n{found}")
