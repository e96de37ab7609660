"""The data sets, one file each. A file here with a DESCRIPTION and a `load` is a data set; nothing else has to be told of it."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from seglm.dataset.description import Description, is_for_training
from seglm.dataset.faults import Missing, blamed
from seglm.dataset.readers.refer import GREFS, coco_ids
from seglm.dataset.readers.stills import Stills
from seglm.utils.did_you_mean import unknown

log = logging.getLogger(__name__)

HELD_OUT = {
    "refcoco": ("unc|val", "unc|testA", "unc|testB"),
    "refcoco+": ("unc|val", "unc|testA", "unc|testB"),
    "refcocog": ("umd|val", "umd|test"),
}
"""whose images `exclude_val` leaves out of training"""
HELD_OUT_IF_THERE = {"grefcoco": ("unc|val", "unc|testA", "unc|testB")}
"""whose images it leaves out, too, for those who have the set"""


class Loader(Protocol):
    """What a file in this folder offers."""

    DESCRIPTION: Description

    def load(self, root: Path, split: str) -> Stills:
        """The data set's split under `root`. Raises Fault if files are missing."""
        ...


@cache
def loaders() -> Mapping[str, Loader]:
    """Every name and every accepted other name -> its file. Raises ValueError for a file that is none, or has another's name."""
    found: dict[str, Loader] = {}
    for info in pkgutil.iter_modules(__path__):
        loader = cast(Loader, importlib.import_module(f"{__name__}.{info.name}"))
        file = f"dataset/sources/{info.name}.py"
        if not (hasattr(loader, "DESCRIPTION") and hasattr(loader, "load")):
            raise ValueError(
                f"{file} has no DESCRIPTION or no `load`; every file there is a data set, see docs/adding_a_dataset.md"
            )
        for name in loader.DESCRIPTION.names:
            if name.lower() in found:
                other = found[name.lower()].DESCRIPTION
                raise ValueError(
                    f"{file}: the name {name!r} belongs to {other.name} ({other.home}); give it another in DESCRIPTION.names"
                )
            found[name.lower()] = loader
    return found


def descriptions() -> list[Description]:
    """Of all data sets, by name."""
    return sorted({id(one): one.DESCRIPTION for one in loaders().values()}.values(), key=lambda one: one.name)


def top_folders() -> list[str]:
    """What lies directly below a data root, by the descriptions of all data sets: coco, refer_seg, ..."""
    return sorted({place.parts[0] for about in descriptions() for place in about.places if place.parts})


def is_begun(about: Description, root: Path) -> bool:
    """Whether something of a data set is below `root`: the first of its own places."""
    return (root / about.places[0]).exists()


def describe(spec: str) -> tuple[Description, str]:
    """The data set and the split that a spec such as `refcoco|unc|testA`, `refcoco|testA` or `refcoco` names.

    Raises ValueError that lists what is permitted.
    """
    name, *fields = [field.strip() for field in spec.split("|")]
    known = loaders()
    if name.lower() not in known:
        names = [one.name for one in descriptions()]
        raise ValueError(
            unknown(
                "data set",
                name,
                names,
                more="own data: a file in dataset/sources, see docs/adding_a_dataset.md",
            )
        )
    about = known[name.lower()].DESCRIPTION
    wanted = "|".join(fields).lower() or about.splits[0].lower()
    for split in (*about.splits, *(one for one in about.splits if "|" in one)):
        # `val` stands for `unc|val`, the first of the splits that end so
        if wanted in (split.lower(), split.lower().partition("|")[2]):
            return about, split
    raise ValueError(
        f"{spec!r}: split {'|'.join(fields)!r} is not permitted; permitted are {', '.join(about.splits)}"
    )


def open_source(spec: str, root: Path, *, is_whole: bool = True) -> Stills:
    """One data set. spec: name and split; is_whole: False gives what is good of it, with `faults` for the rest.

    Raises ValueError for a wrong spec, Fault if files are missing or (`is_whole`) an entry is malformed.
    """
    about, split = describe(spec)
    name, root, toy = f"{about.name}|{split}", Path(root), f"python -m seglm.dataset.toy --dataset_dir {root}"
    if not root.is_dir():
        raise Missing(
            f"{name}: --dataset_dir {root} is no folder; give the one that data sets lie in, or make the toy world there: {toy}"
        )
    try:
        with blamed(name, root / about.places[0], "cannot be opened"):
            source = loaders()[about.name.lower()].load(root, split)
    except Missing as error:
        # Who has a part of the toy world is not sent to fetch gigabytes.
        if any(root.glob("toy_*.json")):
            raise Missing(
                f"{error}; {root} is a toy world, all sets of which are made by {toy} --sets all"
            ) from error
        raise
    return source.whole() if is_whole else source


def open_sources(
    root: Path, families: Mapping[str, Sequence[str]], *, exclude_val: bool = False
) -> tuple[Stills, ...]:
    """The training data: for each family of `--dataset` its data sets, `{"refer_seg": ("refcoco", "refcocog"), ...}`.

    exclude_val: leave the images of RefCOCO, RefCOCO+, RefCOCOg and (where it is there) gRefCOCO val and test out of every source
    that has them by COCO's ids; they are not asked for where no source has such images. LISA has the flag and never uses it.
    Raises ValueError for a name that is unknown or of another family, Fault if files are missing.
    """
    held_out = cache(held_out_images)
    check_names(families)
    sources = []
    for family, specs in families.items():
        for spec in specs:
            about, split = describe(spec)
            if about.scored is not None and split in about.scored_splits and not is_for_training(split):
                log.warning(
                    "%s|%s is trained on, as it is asked for; it is a benchmark, and a score on it is refused as leaked",
                    about.name,
                    split,
                )
            whole = replace(open_source(spec, root), family=family)
            source = whole.without(held_out(root)) if exclude_val and whole.has_coco else whole
            log.info("%s: %d samples, %d held out", source.name, len(source), len(whole) - len(source))
            for what, count in whole.index.left_out.items():
                log.info("%s: left out: %d %s", source.name, count, what)
            if not len(source):
                raise ValueError(
                    f"{source.name}: nothing is left of {len(whole)} samples when val and test images are excluded"
                )
            sources.append(source)
    return tuple(sources)


def check_names(families: Mapping[str, Sequence[str]]) -> None:
    """Raises ValueError for a data set that is unknown or of another family, and for a split whose masks only a server has;
    nothing is opened. A data set's own names are families, too."""
    for family, specs in families.items():
        for spec in specs:
            about, split = describe(spec)
            if family not in about.families and family.lower() not in map(str.lower, about.names):
                raise ValueError(f"{spec!r} belongs to {' and '.join(about.families)}, not to {family}")
            if about.scored is not None and split in about.scored.served:
                there = ", ".join(one for one in about.splits if one not in about.scored.served)
                raise ValueError(
                    f"{spec!r} cannot be trained on: only a server has its masks; permitted are {there}"
                )


def check_families(named: Iterable[str], drawn: Collection[str], *, path: str = "data.sets") -> None:
    """Raises ValueError for a family that a setting names, that nobody draws from, and that no data set is of: a slip.

    path: of the setting.
    """
    known = {family for about in descriptions() for family in (*about.families, about.name)}
    for family in named:
        if family not in drawn and family not in known:
            raise ValueError(
                f"{path}.{family} is drawn from by nobody; name it in data.mixture (--dataset), or it is a slip: data sets "
                f"are of {', '.join(sorted(known))}"
            )


def held_out_images(root: Path) -> frozenset[int]:
    """COCO ids of the images that the RefCOCO family is scored on.

    Raises Fault, which names the setting that asks for them, if one of HELD_OUT is missing.
    """
    known = loaders()
    try:
        found = {
            image
            for name, splits in HELD_OUT.items()
            for split in splits
            for image in coco_ids(Path(root), split, known[name].DESCRIPTION)
        }
    except Missing as error:
        raise Missing(
            f"data.exclude_val=true (--exclude_val) leaves the pictures of {', '.join(HELD_OUT)} val and test out of training, "
            f"and one of these sets is not there: say data.exclude_val=false if none of your pictures is theirs, or give the "
            f"set. {error}"
        ) from error
    for name, splits in HELD_OUT_IF_THERE.items():
        try:
            found |= {
                image
                for split in splits
                for image in coco_ids(Path(root), split, known[name].DESCRIPTION, refs_names=GREFS)
            }
        except Missing:
            log.info("%s is not there: exclude_val knows nothing of its images", name)
    return frozenset(found)
