"""Trains rows under one budget, asks them the same questions, and writes one table and one picture.

python -m seglm.evaluation.league --dataset_dir data/toy --minutes 6 --seeds 0,1,2 --jobs 2
python -m seglm.evaluation.league --rows "lisa_tiny,gsva_tiny,keyseg_tiny:fusion.kind=faithful" ...

A row is a recipe with settings as train_ds.py takes them. What is done is kept under --out and not done again; after a kill the
same command goes on.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from seglm.evaluation.league.compete import compete
from seglm.evaluation.league.entrants import (
    BENCHMARKS,
    VIDEOS,
    Budget,
    benchmarks_of,
    check_benchmarks,
    entrants,
    fingerprint,
    seeds_of,
)
from seglm.evaluation.league.picture import save_pictures
from seglm.evaluation.league.standings import write_standings
from seglm.evaluation.league.work import Processes, Work, check_checkout
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.folders import check_writable
from seglm.utils.ranges import Count, Positive, place, typed


@command
def main(arguments: Sequence[str] | None = None, *, work: Work | None = None) -> None:
    """The command line at the top of this file. work: who does the work; None starts processes."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, _interrupt)
    out: Path = given.out.resolve()
    check_writable(out, "--out")
    if work is None:
        check_checkout()
    try:
        budget = Budget(
            given.minutes, given.dataset_dir.resolve(), benchmarks_of(given.benchmarks, given.dataset_dir)
        )
        rows, seeds = entrants(given.rows, budget.dataset_dir), seeds_of(given.seeds)
        for row in rows:
            fingerprint(row, budget)
        check_benchmarks(rows, budget)
        out.mkdir(parents=True, exist_ok=True)
        games, failed = compete(
            rows, seeds, budget, work or Processes(budget, out / "trials"), out=out, jobs=given.jobs
        )
        print(write_standings(out, games, failed, budget))  # noqa: T201
        if games:
            print(f"files: {out}, {', '.join(map(str, save_pictures(out, games, budget)))}")  # noqa: T201
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on from what is in {out}") from None
    if failed:
        sys.exit(
            f"error: {len(failed)} of {len(rows) * len(seeds)} did not come to their end, first {failed[0].why}"
        )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m seglm.evaluation.league", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--rows",
        default="",
        help="RECIPE[:path=value ...], commas between them; default: the *_tiny recipes whose data are there",
    )
    parser.add_argument("--seeds", default="0,1,2", help="with commas between them (default 0,1,2)")
    parser.add_argument(
        "--minutes", type=typed(Positive), default=6.0, help="of one core, a row and seed (default 6)"
    )
    parser.add_argument(
        "--jobs", type=typed(Count), default=2, help="rows at a time, one thread each (default 2)"
    )
    parser.add_argument("--dataset_dir", type=place, default=Path("data/toy"), help="a toy world")
    parser.add_argument(
        "--benchmarks",
        default="",
        help=f'default "{",".join(BENCHMARKS)}", and "{",".join(VIDEOS)}" where the world has videos',
    )
    parser.add_argument(
        "--out", type=place, default=Path("runs/league"), help="folder for everything (default runs/league)"
    )
    return parser


if __name__ == "__main__":
    main()
