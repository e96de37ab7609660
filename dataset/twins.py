"""Pictures and videos that stand in a training split and in one that is scored, by their bytes, whatever they are called.

Of a video that is scored a few frames are looked for among all frames that are trained on: a part of a longer one is found, too.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from seglm.dataset.description import is_for_training
from seglm.dataset.faults import Fault, blamed
from seglm.dataset.frames import read_frame
from seglm.dataset.index import Record
from seglm.dataset.readers.files import files_in
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video import ENDINGS, is_picture, natural

Pictures = Mapping[Path, str]
"""file -> key of a sample that shows it"""
FEW = 3  # frames of a video that is scored: the first, the middle and the last
PLAIN = 8  # grey levels: a frame that differs by no more is black, or white, in many videos


def notes(sources: Iterable[Stills]) -> Iterator[tuple[str, str | Fault]]:
    """(name of a scored split, a line about its pictures that are trained on) for splits of one data set and one maker; a Fault
    for each of these pictures that is broken.

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
                    found, broken = twins(pictures(trained), pictures(scored, most=FEW))
                    yield from ((scored.name, fault) for fault in broken)
                    if found:
                        first, second = found[0]
                        yield (
                            scored.name,
                            f"{_counted(scored, len(found))} of {trained.name}, e.g. {second} = {first}",
                        )


def split_of(source: Stills) -> str:
    return source.name.rpartition("|")[2]


def pictures(source: Stills, most: int | None = None) -> Pictures:
    """Each picture of a source once, and of a video its frames, at most `most`; what is absent is left to the check."""
    keys = source.keys()
    numbers = range(len(source.index)) if source.kept is None else source.kept.tolist()
    records = (source.index.record(number) for number in numbers)
    return {
        file: key
        for record, key in zip(records, keys, strict=True)
        for file in _files(source.still(record).path, record, most)
    }


def twins(trained: Pictures, scored: Pictures) -> tuple[list[tuple[str, str]], list[Fault]]:
    """(key in `trained`, key in `scored`) of everything in `scored` of which `trained` has a picture or a frame, too; and what
    is wrong with those of them that cannot be decoded.
    """
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for file in trained:
        by_size[file.stat().st_size].append(file)
    found: dict[str, str] = {}
    broken: list[Fault] = []
    for file, key in scored.items():
        same = by_size.get(file.stat().st_size, []) if key not in found else []
        twin = next((other for other in same if other == file or _digest(other) == _digest(file)), None)
        if twin is None:
            continue
        try:
            if _is_plain(file, key):
                continue
        except Fault as error:
            broken.append(error)
        found[key] = trained[twin]
    return [(first, second) for second, first in found.items()], broken


def _files(place: Path, record: Record, most: int | None) -> list[Path]:
    """The picture itself, or frames from the first to the last in equal steps."""
    if not place.is_dir():
        return [place] if place.is_file() else []
    there = files_in(place, *ENDINGS)
    names = [name for name in record["frames"] or sorted(there, key=natural) if name in there]
    if most is not None and len(names) > most:
        names = [names[number * (len(names) - 1) // (most - 1)] for number in range(most)]
    return [place / there[name][0] for name in names]


def _is_plain(file: Path, key: str) -> bool:
    """Whether a picture is of one colour, as the first frame of many videos; a whole film is not. Raises Fault."""
    with blamed(key, file):
        if not is_picture(file):
            return False
    pixels = read_frame(file, key)
    return bool((pixels.max(axis=(0, 1)) - pixels.min(axis=(0, 1))).max() <= PLAIN)


def _counted(source: Stills, count: int) -> str:
    """How many of its samples have a twin; a video may have one in a single frame."""
    is_of_videos = len(source.index) and "frames" in source.index.record(0)
    if is_of_videos:
        return f"{count} {'video shows a frame' if count == 1 else 'videos show frames'}"
    return f"{count} {'picture is one' if count == 1 else 'pictures are ones'}"


def _digest(file: Path) -> bytes:
    """Of one that may not be read its path, which is nobody else's: the check has told of it."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return bytes(file)
