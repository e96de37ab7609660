"""What a run is told: when what happens, and whom it asks about what is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class SaveEvery:
    """How often a run saves beside the ends of its epochs; nothing but 0: not at all."""

    steps: int = 0
    """optimizer steps"""
    minutes: float = 0.0
    """of the main process's clock, since the last save"""

    @staticmethod
    def of(text: str | None) -> SaveEvery:
        """What --save_every says: `500` steps, `20m` minutes, or nothing."""
        if text is None:
            return SaveEvery()
        return SaveEvery(minutes=float(text[:-1])) if text.endswith("m") else SaveEvery(steps=int(text))


@dataclass(frozen=True)
class Plan:
    """When what happens, in optimizer steps."""

    epochs: int
    steps_per_epoch: int
    seed: int
    print_freq: int = 10
    """steps between two reports"""
    save_every: SaveEvery = SaveEvery()
    keep: int = 0
    """the trained weights of the last so many saves stay, each as a portable checkpoint"""
    best_by: str = "giou"
    """the validation score that decides which state is the best; higher is better"""
    tripwire: int = 20
    """after this many steps every group of weights must have moved; 0 does not look"""
    tripwire_behind: int = 0
    """steps that do not count for it, because no sample of them asks for a mask"""

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """Whether this step is the last of an epoch; 0 is none."""
        return step > 0 and step % self.steps_per_epoch == 0

    def reports(self, step: int) -> bool:
        """Whether a row of numbers is written after this step."""
        return step % self.print_freq == 0 or self.ends_epoch(step)

    def saves(self, step: int, *, minutes: float) -> bool:
        """Whether it is time to save after this step, so many minutes after the last save."""
        every = self.save_every
        by_steps = every.steps > 0 and step % every.steps == 0
        return self.ends_epoch(step) or by_steps or 0 < every.minutes <= minutes


@dataclass(frozen=True)
class Hooks:
    """What the loop asks of those who know what is learned."""

    validate: Callable[[nn.Module], Mapping[str, float]] | None = None
    """module in eval mode -> scores; every rank calls it and gets the same scores. None: no validation"""
    portable: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    """trained weights by parameter name -> by the name they have in the portable checkpoint"""
    group_of: Callable[[str], str] = lambda name: name.split(".")[0]
    """parameter name -> the group the tripwire judges it with"""
    manifest: Callable[[], Mapping[str, Any]] = dict
    """what the run is made of, for its folder and the portable checkpoint"""
