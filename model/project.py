"""The projection of a slot's hidden state into the space of the decoder's prompts.

Letters: D hidden size of the LLM, C prompt width, P prompt vectors of a slot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seglm.utils.config import Choice

if TYPE_CHECKING:
    from torch import nn

    from seglm.model.released.checkpoint import Checkpoint


@dataclass(frozen=True)
class Project(Choice, ABC):
    """A projection as a recipe names it."""

    @abstractmethod
    def build(self, *, hidden: int, width: int) -> nn.Module:
        """A module float [..., D] -> float [..., C], or [..., P, C] where a slot has several vectors; its weights fresh.

        hidden: D; width: C.
        """

    def begin(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint for the start of a training: what it holds of another projection becomes this one's, or is left out."""
        return checkpoint


@dataclass(frozen=True)
class TwoLayers(Project):
    """LISA's, and that of all its descendants."""

    def build(self, *, hidden: int, width: int) -> nn.Module:
        from seglm.model.projection import Projection

        return Projection(hidden, width)
