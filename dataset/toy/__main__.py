"""`python -m seglm.dataset.toy --dataset_dir data/toy`: writes the toy world; `--sets all`: its videos and Sa2VA's sets, too."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, TypeVar

from tqdm import tqdm

from seglm.dataset.toy.scenes import GRID
from seglm.dataset.toy.world import Manifest
from seglm.dataset.toy.write import (
    JOBS,
    TEST_IMAGES,
    TRAIN_IMAGES,
    VAL_IMAGES,
    read_manifest,
    write,
)
from seglm.dataset.toy.write_sa2va import read_sa2va_manifest, write_sa2va
from seglm.dataset.toy.write_videos import read_video_manifest, write_videos
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.ranges import CountOrNone, Place, between, typed
from seglm.utils.threads import usable_cores

WORTH_PROCESSES = 200  # pictures; a smaller world is written before a second interpreter has started

Side = Annotated[int, between(least=16, most=4096)]
"""of a smaller picture some shapes have no pixel"""


SETS = ("images", "videos", "sa2va", "all")
Item = TypeVar("Item")


@command
def main(arguments: list[str] | None = None) -> int:
    """Write the world that the arguments name and say what it holds; returns the exit status."""
    options = _parser().parse_args(arguments)
    root = Path(options.dataset_dir)
    numbers = {
        name: getattr(options, name) for name in ("images", "val_images", "test_images", "seed", "size")
    }
    if options.sets in ("images", "all"):
        was_there = read_manifest(root) is not None
        cores = usable_cores() if options.images + options.val_images >= WORTH_PROCESSES else 1
        bar = _bar("data set", total=len(JOBS))
        _say(root, "this toy world", was_there, lambda: write(root, processes=cores, progress=bar, **numbers))
    if options.sets in ("videos", "all"):
        was_there = read_video_manifest(root) is not None
        _say(root, "the toy videos", was_there, lambda: write_videos(root, progress=_bar("clip"), **numbers))
        sys.stdout.write(f"  to look at: {root / 'films'}\n")
    if options.sets in ("sa2va", "all"):
        was_there = read_sa2va_manifest(root) is not None
        _say(
            root,
            "the toy sets of Sa2VA",
            was_there,
            lambda: write_sa2va(root, progress=_bar("data set"), **numbers),
        )
    return 0


def _say(root: Path, what: str, was_there: bool, make: Callable[[], Manifest]) -> None:
    """Make a world, or find it, and print what it holds."""
    begin = time.perf_counter()
    world = make()
    done = "here already" if was_there else f"written in {time.perf_counter() - begin:.0f} s"
    sys.stdout.write(f"{root}: {what}, {done}\n{_table(world)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m seglm.dataset.toy", description=__doc__)
    parser.add_argument(
        "--dataset_dir",
        type=typed(Place),
        default="data/toy",
        help="absent, empty, or the same world already",
    )
    parser.add_argument(
        "--sets",
        choices=SETS,
        default="images",
        help="the data sets of pictures, those of videos, those of Sa2VA (captions, regions, chat), or all (default images)",
    )
    numbers = {
        "images": (
            TRAIN_IMAGES,
            "training pictures, all data sets together; the numbers of videos follow from those of pictures",
        ),
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


def _bar(unit: str, *, total: int | None = None) -> Callable[[Iterable[Item], str], Iterable[Item]]:
    """A progress bar that counts in the unit."""

    def watched(items: Iterable[Item], label: str) -> Iterable[Item]:
        bar: Iterable[Item] = tqdm(
            items, desc=label, unit=unit, total=total, leave=False, dynamic_ncols=True, disable=None
        )
        return bar

    return watched


def _table(world: Manifest) -> str:
    width = max(map(len, world.counts))
    return "\n".join(f"  {name:{width}}  {count:6d}" for name, count in world.counts.items())


if __name__ == "__main__":
    sys.exit(main())
