"""DeSa2VA's supervision of both branches: Sa2VA's losses of the text's mask and of the vision's, beside the mixed one's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seglm.model.decoders.two_branches import TEXT, VISION, TwoBranches
from seglm.model.point_terms import PointBce, PointDice, PointTerm
from seglm.model.terms import Predicted

if TYPE_CHECKING:
    from torch import Tensor

    from seglm.model.recipe import Recipe


@dataclass(frozen=True)
class _OfABranch(PointTerm):
    """The loss of a mask that one of the two mask decoders drew."""

    def check(self, recipe: Recipe, /) -> None:
        super().check(recipe)
        if self.weight and not isinstance(recipe.decoder, TwoBranches):
            raise ValueError(
                f"terms.{self.name} teaches a branch of decoder=TwoBranches, and recipe {recipe.name} has "
                f"decoder={type(recipe.decoder).__name__}; set decoder=TwoBranches, or terms.{self.name}.weight=0"
            )

    def judged(self, predicted: Predicted) -> Tensor:
        masks = predicted.candidates_JKhw
        # A decoder with one branch is left where the weight is 0.
        return (
            predicted.low_Jhw
            if masks is None or masks.shape[1] <= self.candidate
            else masks[:, self.candidate]
        )


@dataclass(frozen=True)
class TextBce(_OfABranch, PointBce):
    name = "text_bce"
    candidate = TEXT


@dataclass(frozen=True)
class TextDice(_OfABranch, PointDice):
    name = "text_dice"
    candidate = TEXT


@dataclass(frozen=True)
class VisionBce(_OfABranch, PointBce):
    name = "vision_bce"
    candidate = VISION


@dataclass(frozen=True)
class VisionDice(_OfABranch, PointDice):
    name = "vision_dice"
    candidate = VISION
