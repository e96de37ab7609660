"""What a written toy world is, of pictures or of videos: its manifest, its pools, and the draft that becomes it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from seglm.dataset.toy.scenes import Split


@dataclass(frozen=True)
class Manifest:
    """What a written world is; stands in its folder as a JSON file."""

    seed: int
    size: int
    """side of the pictures, pixels"""
    images: int
    """pictures of the train split, all data sets together"""
    val_images: int
    """pictures of each large val split (and of RefCOCO's testA and testB); ReasonSeg's has twice as many"""
    test_images: int
    """pictures of each other test split"""
    fingerprint: str
    """of the scenes and the language; another version of them makes another world"""
    counts: dict[str, int]
    """`data set|split` -> samples: sentences, pictures, annotations or conversations, as the set counts them"""


@dataclass(frozen=True)
class Pool:
    """Pictures or clips that are used together."""

    name: str
    split: Split
    share: float
    """of the number of pictures of its `base`"""
    base: str
    """field of Manifest that says how many pictures there are"""


def manifest_in(path: Path) -> Manifest | None:
    """The manifest in a file; None if it is not there."""
    return Manifest(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def differences(found: Manifest, wanted: Manifest) -> str:
    """In what a world is not the wanted one, its counts apart; empty if it is."""
    return ", ".join(
        f"{name} {value!r} (wanted {asdict(wanted)[name]!r})"
        for name, value in asdict(found).items()
        if name != "counts" and value != asdict(wanted)[name]
    )


@contextmanager
def draft_of(root: Path, what: str) -> Iterator[Path]:
    """A new folder beside `root`, in which a world is written; what was not moved away is removed. what: part of its name."""
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = root.with_name(f".{root.name}.{what}-{os.getpid()}")
    try:
        draft.mkdir()
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
