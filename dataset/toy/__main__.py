"""`python -m seglm.dataset.toy --dataset_dir data/toy`: writes the toy world."""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from tqdm import tqdm

from seglm.dataset.toy.scenes import GRID
from seglm.dataset.toy.write import (
    JOBS,
    TEST_IMAGES,
    TRAIN_IMAGES,
    VAL_IMAGES,
    Manifest,
    read_manifest,
    write,
)
from seglm.utils.command import command
from seglm.utils.ranges import CountOrNone, Place, between, typed
from seglm.utils.threads import usable_cores

WORTH_PROCESSES = 200  # pictures; a smaller world is written before a second interpreter has started

Side = Annotated[int, between(least=16, most=4096)]
"""of a smaller picture some shapes have no pixel"""


@command
def main(arguments: list[str] | None = None) -> int:
    """Write the world that the arguments name and say what it holds; returns the exit status."""
    options = _parser().parse_args(arguments)
    root, begin = Path(options.dataset_dir), time.perf_counter()
    was_there = read_manifest(root) is not None
    world = write(
        root,
        images=options.images,
        val_images=options.val_images,
        test_images=options.test_images,
        seed=options.seed,
        size=options.size,
        processes=usable_cores() if options.images + options.val_images >= WORTH_PROCESSES else 1,
        progress=_bar,
    )
    done = "is already here" if was_there else f"was written in {time.perf_counter() - begin:.0f} s"
    sys.stdout.write(f"{root}: this toy world {done}\n{_table(world)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m seglm.dataset.toy", description=__doc__)
    parser.add_argument(
        "--dataset_dir",
        type=typed(Place),
        default="data/toy",
        help="absent, empty, or the same world already",
    )
    numbers = {
        "images": (TRAIN_IMAGES, "training pictures, all data sets together"),
        "val_images": (
            VAL_IMAGES,
            "pictures of each val split (ReasonSeg: twice as many), of testA and of testB",
        ),
        "test_images": (TEST_IMAGES, "pictures of each other test split"),
        "seed": (0, "another seed is another world"),
        "size": (GRID, "side of a picture, pixels"),
    }
    for name, (default, meaning) in numbers.items():
        hint = Side if name == "size" else CountOrNone
        parser.add_argument(
            f"--{name}", type=typed(hint), default=default, help=f"{meaning} (default {default})"
        )
    return parser


def _bar(jobs: Iterable[Any], label: str) -> Iterable[Any]:
    bar: Iterable[Any] = tqdm(
        jobs, desc=label, unit="data set", total=len(JOBS), leave=False, dynamic_ncols=True, disable=None
    )
    return bar


def _table(world: Manifest) -> str:
    width = max(map(len, world.counts))
    return "\n".join(f"  {name:{width}}  {count:6d}" for name, count in world.counts.items())


if __name__ == "__main__":
    sys.exit(main())
