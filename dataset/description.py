"""What a person has to know about a data set; every file in `dataset/sources` has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Literal, get_args

from seglm.utils.did_you_mean import unknown

Texts = Literal["first", "all"]
"""which wordings of a target are asked, each as an expression of its own"""
RULES: Mapping[Texts, str] = {
    "first": "one expression a target, the first of its texts",
    "all": "one expression for every text of a target",
}
PATTERN = frozenset("*{")  # a component of `tree` that holds one of these is no name


@dataclass(frozen=True)
class Scored:
    """How a data set is asked and scored as a benchmark, and what `--val_dataset` may say of it."""

    texts: Mapping[Texts, str] = field(default_factory=lambda: RULES)
    """the wordings that may be asked -> what an expression is then, one line beside the score; the first is the default, another
    one is chosen by `|first_text` or `|all_texts` at the end, and is part of the score's name"""
    splits: tuple[str, ...] = ()
    """which splits; none: all that the data set has, those to train on last; the first says whose are meant by default"""
    served: tuple[str, ...] = ()
    """splits whose truth only a server has: masks are written for it, nothing can be scored here"""
    conventions: tuple[str, ...] = ("lisa", "plain")
    """ways to average IoU or, of videos, J&F, by their names in `evaluation/scores`; the first is the default"""
    drawn_empty_adds: bool = True
    """whether GSVA's cIoU counts the pixels drawn for what is not there"""
    blank: Literal["error", "left_out"] = "error"
    """a picture in which nothing can be asked for"""

    def __post_init__(self) -> None:
        if not self.texts or not self.conventions:
            raise ValueError(
                f"scored: texts {dict(self.texts)}, conventions {self.conventions}; each needs an entry"
            )
        for name in self.texts:
            if name not in get_args(Texts):
                raise ValueError(unknown("entry of scored.texts", name, get_args(Texts)))


@dataclass(frozen=True)
class Description:
    names: tuple[str, ...]
    """what `--sem_seg_data` and the like call it; the first is its own, the others are accepted"""
    family: str
    """under which it is drawn: `--dataset`; sem_seg, refer_seg, vqa, reason_seg, or a name of its own"""
    splits: tuple[str, ...]
    """what may follow the name, `unc|train`; the first is the default"""
    tree: tuple[str, ...]
    """the expected files and folders below `--dataset_dir`, what is always there first"""
    home: str
    """where it comes from"""
    counts: Mapping[str, int]
    """split -> samples (images) of the real data set, where they are known; another number is reported, not refused"""
    quirks: tuple[str, ...] = ()
    """what its files do that one would not expect"""
    known_bad: Mapping[str, str] | None = None
    """split -> what is known to be wrong with the published files, with the thread that says so"""
    scored: Scored | None = Scored()
    """how it is asked and scored; None for data in which there is nothing to be found"""
    groups: tuple[str, ...] = ()
    """further families under which it may be drawn, each at a rate of its own: a part of a mixture as its authors call it"""
    releases: tuple[str, ...] = ()
    """makers before the bar of a split that name a release of the same pictures: `v2|valid_u` has those of `valid_u`"""

    def __post_init__(self) -> None:
        for field_name in ("names", "splits", "tree"):
            if not getattr(self, field_name):
                raise ValueError(f"the description of a data set: `{field_name}` is empty; it needs an entry")
        for split in (*self.scored.splits, *self.scored.served) if self.scored else ():
            if split not in self.splits:
                raise ValueError(unknown(f"split in {self.name}'s scored", split, self.splits))

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def families(self) -> tuple[str, ...]:
        """All names under which it may be drawn."""
        return (self.family, *self.groups)

    @property
    def places(self) -> tuple[PurePosixPath, ...]:
        """What of `tree` has a fixed name, one path a line: `ade20k/images/{training,validation}/*.jpg` -> `ade20k/images`."""
        parts = (line.split(" ")[0].split("/") for line in self.tree)
        return tuple(PurePosixPath(*takewhile(PATTERN.isdisjoint, line)) for line in parts)

    @property
    def scored_splits(self) -> tuple[str, ...]:
        """What can be scored, see `Scored.splits`."""
        if self.scored is None:
            return ()
        own = tuple(split for split in self.splits if split not in self.scored.served)
        return self.scored.splits or tuple(sorted(own, key=is_for_training))


def is_for_training(split: str) -> bool:
    """Whether a split says in its name that it is training data: `unc|train`, `training`, `train2017`."""
    return split.rpartition("|")[2].lower().startswith("train")
