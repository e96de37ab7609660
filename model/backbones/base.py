"""What every multimodal LLM shares: the choice in a recipe, and the module that it builds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Self

from seglm.model.precision import Precision
from seglm.model.sizes import Sizes
from seglm.utils.batch import Batch
from seglm.utils.config import Choice
from seglm.utils.ranges import WRITTEN_OUT, Place
from seglm.utils.types import Look

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import torch
    from torch import Tensor

    from seglm.model.backbones.encode import DialogueEncoder
    from seglm.model.released.checkpoint import Checkpoint


@dataclass(frozen=True)
class BackboneChoice(Choice, ABC):
    """A multimodal LLM as a recipe names it; `build` makes the module."""

    trains_tower: ClassVar[bool] = False
    """whether a gradient can reach the vision tower"""

    weights: Place
    """folder or hub id of the language model with its projector and tokenizer"""

    vision: Annotated[str, WRITTEN_OUT] = ""
    """folder or hub id of the vision tower, for weights that hold none"""
    revision: str | None = None
    """hub revision of `weights`"""

    @property
    def look(self) -> Look:
        """How pictures come into the squares of the vision tower."""
        return Look(self.fit, tiles=self.most_tiles)

    @property
    def fit(self) -> Literal["crop", "fill"]:
        """How a picture comes into the square of the vision tower (`Look.fit`)."""
        return "crop"

    @property
    def most_tiles(self) -> int:
        """Into how many tiles a picture is cut that is shown finely (`Look.tiles`)."""
        return 1

    def at(self, folder: str) -> Self:
        """The same with everything read from one folder, as a merged model holds it."""
        return replace(self, weights=folder, vision=folder, revision=None)

    def on(self, weights: str) -> Self:
        """The same on other weights, of which a revision of these says nothing."""
        return self if weights == self.weights else replace(self, weights=weights, revision=None)

    @classmethod
    def knows(cls, names: Collection[str]) -> bool:
        """Whether these names of tensors are those of a base in a layout that only this class reads, by `load`."""
        return False

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """A base in the layout that `knows` recognises. Raises WeightsError (model/released/errors.py)."""
        raise NotImplementedError(f"{cls.__name__} has no layout of its own; `knows` says so")

    @abstractmethod
    def read(self, model: str | None = None, *, vision: str | None = None) -> Checkpoint:
        """The weights that a training starts from, or those of a trained `model` (path or hub id), whatever their layout.

        vision: where the tower of a trained model lies that holds none; else what its config names, else the recipe's.
        """

    @abstractmethod
    def encoder(self, checkpoint: Checkpoint, tokens: tuple[str, ...]) -> DialogueEncoder:
        """The encoder of dialogues with the checkpoint's tokenizer; tokens: added to it."""

    @abstractmethod
    def build(self, sizes: Sizes, *, attention: str, precision: Precision) -> Backbone:
        """The module, its weights fresh. attention: transformers' name of it; precision: of the frozen weights."""

    @abstractmethod
    def preprocessing(self, sizes: Sizes) -> dict[str, Any]:
        """How pictures reach the vision tower, in words and numbers; for readers of a merged folder."""


class Backbone(Protocol):
    """Pixels and ids in, states and words out; an nn.Module.

    Letters: R rows, T tokens of a row, Q tokens that are fed now, D hidden, V vocabulary.
    """

    llm: Any
    """the language model of Hugging Face, whose layers get the adapters"""

    @property
    def hidden_size(self) -> int:
        """D."""
        ...

    @property
    def patches(self) -> int:
        """Visual tokens of one frame, or of one of its cells (`Look.fit`)."""
        ...

    @property
    def vision_size(self) -> int:
        """Side of the square that the vision tower sees, or of a cell, pixels."""
        ...

    @property
    def window(self) -> int | None:
        """How many tokens of a dialogue a token looks back on, itself among them; None: all."""
        ...

    @property
    def device(self) -> torch.device: ...

    def see(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, v, v], or float already normalised -> what the vision tower makes of each, [N, P, width]; frozen.

        Of cells each is a picture for itself here; `hidden` sees them as `Batch.grids` says.
        """
        ...

    def hidden(self, batch: Batch, *, cache: Any = None) -> Tensor:
        """The state after the last norm, [R, T, D]; cache: filled for `go_on`."""
        ...

    def head(self, states: Tensor) -> Tensor:
        """States [..., D] -> vocabulary logits [..., V]."""
        ...

    def table(self) -> Tensor:
        """The embedding of every word, [V, D], with its gradient."""
        ...

    def generating(self) -> AbstractContextManager[Any]:
        """Inside, dialogues are continued one token at a time; gives the cache for `hidden` and `go_on`."""
        ...

    def go_on(self, ids: Tensor, *, free: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """The states [R, Q, D] of ids int64 [R, Q] behind what the cache holds; free: bool [R, 1, Q, T], who may look at whom;
        positions: int64 [R, Q], rotary ones."""
        ...
