"""The layers that read a number at a slot (see `score.py`).

Letters: S slots, D hidden size of the LLM, C width of a slot's vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seglm.model.projection import Projection


class ScoreModule(nn.Module):
    """float [..., D] -> float [..., C], a vector that nothing draws; `scores` makes numbers of such."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.layers = Projection(hidden, width)
        self.score = nn.Linear(width, 1)

    def forward(self, states: Tensor) -> Tensor:
        vectors: Tensor = self.layers(states)
        return vectors

    def scores(self, vectors_SC: Tensor) -> Tensor:
        """float [S, C] -> float [S], not bounded: an estimate of IoU."""
        found: Tensor = self.score(vectors_SC.relu())[:, 0]
        return found


def scores_of(module: ScoreModule, queries_SC: Tensor) -> Tensor:
    """float32 [S]: the numbers of slots' vectors, whatever the autocast."""
    with torch.autocast(queries_SC.device.type, enabled=False):
        return module.scores(queries_SC.float())
