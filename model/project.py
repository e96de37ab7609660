"""The projection of a slot's hidden state into the space of the decoder's prompts.

Letters: D hidden size of the LLM, C prompt width, P prompt vectors of a slot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seglm.model.decoders.base import Decoder, TakesPoints
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

    def start(self, project: nn.Module, decoder: Decoder) -> None:
        """Changes fresh weights in place, with a look at the decoder that reads its prompts."""


@dataclass(frozen=True)
class Prompting(Project, ABC):
    """A projection whose vectors are prompts."""

    as_point: bool = False
    """fresh, it gives for every state the vector that SAM has for any point of a thing, to which SAM adds where the point is;
    else, as LISA's, next to nothing, which the mask decoder was never shown"""

    @abstractmethod
    def last(self, project: Any) -> Sequence[nn.Linear]:
        """The layers of the built module that make the vectors."""

    def start(self, project: nn.Module, decoder: Decoder) -> None:
        """See `Project`. Raises ValueError for a decoder that knows no points."""
        if not self.as_point:
            return
        if not isinstance(decoder, TakesPoints):
            raise ValueError(
                f"project.as_point=true: a {type(decoder).__name__} has no vector for points (a_point); set "
                "project.as_point=false"
            )
        for layer in self.last(project):
            layer.bias.data.copy_(decoder.a_point())


@dataclass(frozen=True)
class TwoLayers(Prompting):
    """LISA's, and that of all its descendants."""

    def build(self, *, hidden: int, width: int) -> nn.Module:
        from seglm.model.projection import Projection

        return Projection(hidden, width)

    def last(self, project: Any) -> Sequence[nn.Linear]:
        return (project[-1],)
