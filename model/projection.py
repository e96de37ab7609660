"""The module of LISA's projection."""

from __future__ import annotations

from torch import nn


class Projection(nn.Sequential):
    """Linear, ReLU, Linear: `text_hidden_fcs` of LISA (model/LISA.py at 3cb2d43) and of all its descendants.

    float [..., hidden] -> float [..., out]. LISA runs it over the whole sequence and picks rows afterwards; here rows are
    picked first.
    """

    def __init__(self, hidden: int, out: int) -> None:
        super().__init__(nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out))
