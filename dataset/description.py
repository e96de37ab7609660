"""What a person has to know about a data set; every file in `dataset/sources` has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Wording = Literal["all", "first"]
"""which texts of a target are asked: `all`, each as an expression of its own, or only the `first`"""


@dataclass(frozen=True)
class Scored:
    """How a data set is asked and scored: `--val_dataset "NAME|SPLIT"`. `evaluation/` knows what the names mean."""

    rules: Mapping[Wording, str] = field(
        default_factory=lambda: {
            "all": "one expression a text, all texts of all targets",
            "first": "one expression a target, its first text",
        }
    )
    """permitted wordings, the default first -> one line: what an expression is here, and whose rule it is"""
    conventions: tuple[str, ...] = ("lisa", "plain")
    """by which expressions may be averaged (`--convention`), the default first; names in `evaluation/scores/results.py`"""
    drawn_empty_adds: bool = True
    """see `evaluation/scores/metrics/grefer.py`"""


@dataclass(frozen=True)
class Description:
    names: tuple[str, ...]
    """what `--sem_seg_data` and the like call it; the first is its own, the others are accepted"""
    family: str
    """under which it is drawn (`--dataset`): one of the others', or a new one that a recipe then names in `data.sets`"""
    splits: tuple[str, ...]
    """what may follow the name, `unc|train`; the first is the default"""
    tree: tuple[str, ...]
    """the expected files and folders below `--dataset_dir`"""
    home: str
    """where it comes from"""
    counts: Mapping[str, int]
    """split -> samples (images) of the real data set, where they are known; another number is reported, not refused"""
    quirks: tuple[str, ...] = ()
    """what its files do that one would not expect"""
    known_bad: Mapping[str, str] | None = None
    """split -> what is known to be wrong with the published files, with the thread that says so"""
    scored: Scored | None = field(default_factory=Scored)
    """how it is scored as a benchmark; None for a set that has no masks"""

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def folders(self) -> tuple[str, ...]:
        """Its folders directly below `--dataset_dir`."""
        return tuple(dict.fromkeys(line.split("/")[0] for line in self.tree))
