"""A data set as a benchmark asks it: which pictures, and which of the wordings of a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Literal

from seglm.dataset.description import Texts
from seglm.dataset.pipeline import Source, each_text
from seglm.dataset.readers.stills import Stills
from seglm.utils.types import Sample, Target


class Selection:
    """Samples of a source in which every target has exactly one text.

    texts: `first` keeps the first wording of each target, `all` makes every wording an expression of its own, with its own kind
    and key.
    keep: which samples belong to the benchmark; None for all. Samples are looked at once, nothing heavy is decoded.
    blank: see `dataset.description.Scored`. is_of_videos: an expression is scored in all frames of its sample together.
    """

    def __init__(
        self,
        source: Source,
        *,
        texts: Texts,
        keep: Callable[[Sample], bool] | None = None,
        blank: Literal["error", "left_out"] = "error",
        is_of_videos: bool = False,
    ) -> None:
        self.source = source
        self.texts = texts
        self.keep = keep
        self.blank = blank
        self.is_of_videos = is_of_videos
        self.name = source.name

    @cached_property
    def _kept(self) -> range | list[int]:
        if self.keep is None:
            return range(len(self.source))
        return [index for index in range(len(self.source)) if self.keep(self.source.sample(index))]

    def __len__(self) -> int:
        return len(self._kept)

    def sample(self, index: int) -> Sample:
        sample = self.source.sample(self._kept[index])
        return replace(sample, targets=tuple(one for target in sample.targets for one in self._asked(target)))

    def fingerprint(self) -> str:
        """See `Stills.fingerprint`; empty for a source of another kind, such as one that is made up."""
        return self.source.fingerprint() if isinstance(self.source, Stills) else ""

    def _asked(self, target: Target) -> tuple[Target, ...]:
        every = each_text(target)
        if self.texts == "all":
            return every
        return (replace(every[0], key=target.keys[0] if target.keys else target.key),)
