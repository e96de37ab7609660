"""What a written toy world is, of pictures or of videos: its manifest, its pools, and the draft that becomes it."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from seglm.dataset.toy.layouts.shots import save_json
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


def digest_of(said: Iterable[str]) -> str:
    """A short hash of texts."""
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


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


@dataclass(frozen=True)
class Beside:
    """A part of the world that is written into a folder in which other parts may be."""

    what: str
    """toy videos"""
    manifest: str
    """name of its file"""
    folders: Sequence[str]
    """names of all that it writes directly below the folder, without the manifest"""

    def write(self, root: Path, wanted: Manifest, fill: Callable[[Path], dict[str, int]]) -> Manifest:
        """The part, written by `fill` into an empty folder and then moved; the one that is there already, if it is the same.

        Raises ValueError if another one, or a folder of the user with one of the names, is there.
        """
        root = root.resolve()
        if (found := self._there(root, wanted)) is not None:
            return found
        with draft_of(root, f"writing-{self.what.replace(' ', '-')}") as draft:
            world = replace(wanted, counts=fill(draft))
            # Another process may have written the part meanwhile.
            if (found := self._there(root, wanted)) is not None:
                return found
            root.mkdir(exist_ok=True)
            for name in self.folders:
                (draft / name).replace(root / name)
            save_json(asdict(world), root / self.manifest)
        return world

    def _there(self, root: Path, wanted: Manifest) -> Manifest | None:
        """The part, if it is there; None if there is room for it."""
        if (found := manifest_in(root / self.manifest)) is not None:
            if other := differences(found, wanted):
                names = " ".join(f"'{root / name}'" for name in [*self.folders, self.manifest])
                raise ValueError(
                    f"{root} holds other {self.what}: {other}; remove them (rm -r {names}) or give another --dataset_dir"
                )
            return found
        in_the_way = [name for name in self.folders if (root / name).exists()]
        if in_the_way:
            raise ValueError(
                f"{root} has {', '.join(in_the_way)} already, which the toy world did not write (or was stopped while it did); "
                f"give another --dataset_dir, or move them away"
            )
        return None
