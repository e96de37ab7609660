"""What becomes of the slots' vectors between the projection and the mask decoder.

Letters: S slots, C prompt width, D hidden size of the LLM.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from seglm.utils.config import Choice

if TYPE_CHECKING:
    from torch import nn

    from seglm.model.recipe import Recipe


class Mention(Protocol):
    """A slot as far as fusion has to know it."""

    @property
    def token(self) -> str: ...
    @property
    def example(self) -> int: ...
    @property
    def branch(self) -> int: ...


@dataclass(frozen=True)
class Fusion(Choice, ABC):
    """A fusion as a recipe names it."""

    @abstractmethod
    def build(self, recipe: Recipe, *, width: int, hidden: int) -> nn.Module | None:
        """A module `(queries float [S, C], slots: Sequence[Mention]) -> float [S, C]`, its weights fresh, or None.

        It is called with one dummy row where there is no slot, and all its weights take part then, too.
        width: of prompts (C); hidden: of the LLM (D).
        """


@dataclass(frozen=True)
class Identity(Fusion):
    """LISA's: the projection is the prompt."""

    def build(self, recipe: Recipe, *, width: int, hidden: int) -> None:
        return None


def paired(slots: Sequence[Mention], *, draws: str, keys: str) -> list[int | None]:
    """For each slot the position of its key: the first key slot behind it in its dialogue and before the next drawing one."""
    found: list[int | None] = [None] * len(slots)
    for number, slot in enumerate(slots):
        if slot.token != draws:
            continue
        for later in range(number + 1, len(slots)):
            other = slots[later]
            if (other.example, other.branch) != (slot.example, slot.branch) or other.token == draws:
                break
            if other.token == keys:
                found[number] = later
                break
    return found
