"""What a person has to know about a data set; every file in `dataset/sources` has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Family = Literal["sem_seg", "refer_seg", "vqa", "reason_seg"]


@dataclass(frozen=True)
class Description:
    names: tuple[str, ...]
    """what `--sem_seg_data` and the like call it; the first is its own, the others are accepted"""
    family: Family
    """under which it is drawn: `--dataset`"""
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

    @property
    def name(self) -> str:
        return self.names[0]
