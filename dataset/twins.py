"""Pictures that stand in a training split and in one that is scored, by their bytes, whatever they are called."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from seglm.dataset.description import is_for_training
from seglm.dataset.readers.stills import Stills

Pictures = Mapping[Path, str]
"""file -> key of a sample that shows it"""


def notes(sources: Iterable[Stills]) -> Iterator[tuple[str, str]]:
    """(name of a scored split, a line about its pictures that are trained on) for splits of one data set and one maker.

    Only files of the same size are compared byte by byte. Splits of two makers are made from the same pictures, and so are those
    that say in their names what they are made of (`train_val`); neither is compared.
    """
    groups: defaultdict[str, list[Stills]] = defaultdict(list)
    for source in sources:
        groups[source.name.rpartition("|")[0]].append(source)
    for members in groups.values():
        for scored in members:
            if is_for_training(split_of(scored)):
                continue
            for trained in members:
                if is_for_training(split_of(trained)) and split_of(scored) not in split_of(trained).split(
                    "_"
                ):
                    found = twins(pictures(trained), pictures(scored))
                    if found:
                        first, second = found[0]
                        what = "picture is one" if len(found) == 1 else "pictures are ones"
                        yield scored.name, f"{len(found)} {what} of {trained.name}, e.g. {second} = {first}"


def split_of(source: Stills) -> str:
    return source.name.rpartition("|")[2]


def pictures(source: Stills) -> Pictures:
    """Each picture of a source once; what is absent is left to the check."""
    keys = source.keys()
    numbers = range(len(source.index)) if source.kept is None else source.kept.tolist()
    files = (source.root / source.index.record(number)["image"] for number in numbers)
    return {file: key for file, key in zip(files, keys, strict=True) if file.is_file()}


def twins(trained: Pictures, scored: Pictures) -> list[tuple[str, str]]:
    """(key in `trained`, key in `scored`) of every picture of `scored` that `trained` has, too."""
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for file in trained:
        by_size[file.stat().st_size].append(file)
    found = []
    for file, key in scored.items():
        same = by_size.get(file.stat().st_size, [])
        twin = next((other for other in same if other == file or _digest(other) == _digest(file)), None)
        if twin is not None:
            found.append((trained[twin], key))
    return found


def _digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
