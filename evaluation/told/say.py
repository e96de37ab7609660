"""Asks for words, sample by sample, on any number of processes with the same outcome.

A sample is a batch of its own: processes take them in turn (`asking/predict.py`), and what is said about one is kept when it is
said (`asking/parts.py`), so that who is killed goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm

from seglm.evaluation.asking.parts import Parts
from seglm.evaluation.asking.predict import batches
from seglm.evaluation.told.captions import Chosen
from seglm.utils import dist
from seglm.utils.types import Sample

Row = Mapping[str, Any]
"""what is said to one question, JSON"""


def say(ask: Callable[[Sample], list[Row]], chosen: Chosen, parts: Parts, *, name: str) -> list[Row]:
    """Everything that is said, in the order of the samples, on every process.

    ask: what is said about a sample. parts: begun; for the caller to remove when all that is made of the rows is written.
    """
    world = dist.world()
    told: dict[int, list[Row]] = {}
    own = batches(len(chosen), 1)[world.rank :: world.size]
    for numbers in tqdm(own, desc=name, disable=not world.is_main, dynamic_ncols=True):
        rows: list[Row] | None = parts.read_rows(numbers)
        if rows is None:
            rows = ask(chosen.sample(numbers.start))
            parts.write_rows(numbers, rows)
        told[numbers.start] = rows
    every = {number: rows for part in dist.gather(told) for number, rows in part.items()}
    return [row for number in sorted(every) for row in every[number]]
