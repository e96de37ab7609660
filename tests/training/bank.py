"""A process that pushes as many rows into a bank as its rank says; the main one prints what all of them then hold."""

from __future__ import annotations

import json

import torch

from seglm.model.contrast import COLUMNS, Bank
from seglm.utils import dist

SIZE = 5


def main(folder: str) -> None:
    """folder: where nothing is written."""
    rank = dist.start().rank
    bank, held = Bank(SIZE, 1), []
    for step in range(2):
        rows = 2 * rank  # none on the main process
        about = torch.zeros(rows, COLUMNS, dtype=torch.int64)
        about[:, 0] = torch.arange(rows) + 10 * rank + 100 * step
        bank.push(about[:, :1].float(), about)
        held.append((bank.about[:, 0].tolist(), bank.vectors[:, 0].tolist()))
    every = dist.gather(held)
    if dist.world().is_main:
        print(json.dumps({"banks": every}))
    dist.stop()
