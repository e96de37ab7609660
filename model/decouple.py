"""DeSa2VA's decoupling: a slot's state becomes a vector for its text and one for its looks, by a linear map each.

Letters: D hidden size of the LLM, C prompt width, S slots.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from seglm.model.project import Prompting

if TYPE_CHECKING:
    from seglm.model.released.checkpoint import Checkpoint

log = logging.getLogger(__name__)
LAST = "project.2."
"""the last layer of the projection that a LISA or a Sa2VA has"""
BRANCHES = ("project.text.", "project.vision.")


@dataclass(frozen=True)
class Decoupled(Prompting):
    """`Linear_text` and `Linear_vision` of the figure; the vectors of a slot are in this order."""

    behind_layer: bool = False
    """before the two maps stands the first layer of Sa2VA's projection, and its last one is what both begin with"""

    def build(self, *, hidden: int, width: int) -> DecoupledModule:
        return DecoupledModule(hidden, width, behind_layer=self.behind_layer)

    def last(self, project: DecoupledModule) -> Sequence[nn.Linear]:
        return project.text, project.vision

    def begin(self, checkpoint: Checkpoint) -> Checkpoint:
        """See `Project`; where the base begins with two linear maps of the state, both are drawn anew."""
        if not checkpoint.has("project.") or checkpoint.has(BRANCHES[0]):
            return checkpoint
        if not self.behind_layer:
            log.info("%s: its projection is left out, the two linear maps begin anew", checkpoint.source)
            return checkpoint.without(("project.",))
        tensors = dict(checkpoint.tensors)
        for name in [name for name in tensors if name.startswith(LAST)]:
            last = tensors.pop(name)
            tensors |= {name.replace(LAST, branch): last.clone() for branch in BRANCHES}
        return replace(checkpoint, tensors=tensors)


class DecoupledModule(nn.Module):
    """float [..., D] -> float [..., 2, C]: the text vector, the vision vector."""

    def __init__(self, hidden: int, width: int, *, behind_layer: bool) -> None:
        super().__init__()
        # A Sa2VA calls it so: `text_hidden_fcs.0`.
        layer: Mapping[str, nn.Module] = {"0": nn.Linear(hidden, hidden)} if behind_layer else {}
        for name, module in layer.items():
            self.add_module(name, module)
        self.behind_layer = behind_layer
        self.text, self.vision = nn.Linear(hidden, width), nn.Linear(hidden, width)

    def forward(self, states: Tensor) -> Tensor:
        if self.behind_layer:
            states = self.get_submodule("0")(states).relu()
        return torch.stack([self.text(states), self.vision(states)], dim=-2)
