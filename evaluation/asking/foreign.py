"""Masks of another program, pictures called like an expression's id or like its picture: whose each of them is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.files import MASKS, SAID
from seglm.utils.types import Sample

Owner = tuple[str, int]
"""an expression: the sample's key, which target of it"""
Owners = Mapping[str, Sequence[Owner]]
"""name of a PNG, without its ending -> whose mask it may be"""


def owners(selection: Selection) -> Owners:
    """Whose each name is: of the target with this key, or of all that is asked about the picture."""
    by_key: defaultdict[str, list[Owner]] = defaultdict(list)
    by_picture: defaultdict[str, list[Owner]] = defaultdict(list)
    for sample in map(selection.sample, range(len(selection))):
        for position, target in enumerate(sample.targets):
            by_key[target.key].append((sample.key, position))
            for name in set(_of_picture(sample)):
                by_picture[name].append((sample.key, position))
    by_key.pop("", None)  # of a target without a key
    if all(len(some) == 1 for some in by_key.values()):
        return {**by_picture, **by_key}
    # Keys that are counted anew in each picture are no ids: what is called like a picture is the picture's.
    return {**by_key, **by_picture}


def find(predictions: Path, sample: Sample, position: int, owners: Owners) -> Path | None:
    """A mask that another program called by the target's key or, where a picture has one expression, by the picture.

    Raises ValueError if it could as well be another expression's.
    """
    endings = (".png", ".PNG")  # a PNG by its capitals, too; on some disks the two are one file
    found = {
        name: path
        for name in _names(sample, position, owners)
        for end in endings
        if (path := predictions / f"{name}{end}").is_file()
    }
    if not found:
        return None
    name = min(found, key=lambda one: len(owners[one]))
    if len(owners[name]) > 1:
        keys = list(dict.fromkeys(key for key, _ in owners[name]))
        raise ValueError(
            f"{found[name]} could be the mask of {len(owners[name])} expressions, about {' and '.join(keys[:2])}"
            f"{' and others' if len(keys) > 2 else ''}; a PNG's name has to be one expression's alone, or a {SAID} beside "
            f"{MASKS}/ says whose mask is whose (`python -m seglm.evaluation.run --inference_only` writes one)"
        )
    return found[name]


def _names(sample: Sample, position: int, owners: Owners) -> list[str]:
    """What its mask may be called, the key before the picture."""
    pictures = _of_picture(sample) if len(sample.targets) == 1 else []
    names = dict.fromkeys(name for name in (sample.targets[position].key, *pictures) if name)
    return [name for name in names if (sample.key, position) in owners[name]]


def _of_picture(sample: Sample) -> list[str]:
    return [Path(sample.path).stem, Path(sample.key.rpartition("/")[2]).stem]


def looked_for(sample: Sample, position: int, owners: Owners) -> str:
    """For a message: what its mask would be called."""
    names = [f"{name}.png" for name in _names(sample, position, owners) if len(owners[name]) == 1]
    return f" (looked for: {' or '.join(names)})" if names else f" (no name is its own: a {SAID} is needed)"
