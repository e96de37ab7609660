"""`python -m seglm.dataset.check --dataset_dir ./data`: everything that is missing or malformed, before anyone starts a run.

Every sample of every split that is there is opened: its record, its texts, its image's head. A share of them is decoded whole,
pixels and masks. Exit status 1 if anything is wrong. Known faults of the published files are named, not counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from seglm.dataset import twins
from seglm.dataset.description import Description
from seglm.dataset.faults import Fault, Missing, fault, without_advice
from seglm.dataset.mixture import names
from seglm.dataset.pipeline import asks, clip
from seglm.dataset.readers.refer import NO_TARGET
from seglm.dataset.readers.stills import Stills
from seglm.dataset.sources import describe, descriptions, is_begun, open_source
from seglm.utils.command import command
from seglm.utils.flags import Parser
from seglm.utils.ranges import Share, place, typed
from seglm.utils.types import Frames, Sample

DECODED_SHARE = 0.01
SHOWN = 20  # faults a source, unless --all


@dataclass
class Findings:
    """What is there of one data set and split, and what is wrong with it."""

    name: str
    samples: int = 0
    expressions: int = 0
    """texts that ask for a mask, turns of a conversation, captions of a region"""
    decoded: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """worth knowing, not wrong"""


def check_source(spec: str, root: Path, *, share: float = DECODED_SHARE) -> Findings:
    """Looks at all samples of a data set; every 1/share-th is decoded. Raises ValueError for a wrong spec."""
    about, split = describe(spec)
    found = Findings(f"{about.name}|{split}")
    try:
        source = open_source(spec, root, is_whole=False)
    except (Fault, OSError) as error:
        found.faults.append(str(error))
        return found
    found.faults += source.faults
    found.notes += [f"left out: {count} {what}" for what, count in source.index.left_out.items()]
    every = max(1, round(1 / share)) if share > 0 else 0
    empty: list[str] = []
    with ThreadPoolExecutor() as pool:
        for looked in pool.map(partial(_look, source, every), range(len(source))):
            found.samples += 1
            found.expressions += looked.expressions
            found.decoded += looked.decoded
            found.faults += looked.faults
            empty += looked.empty
    found.notes += _notes(found, empty, about, split)
    return found


@dataclass(frozen=True)
class _Look:
    expressions: int = 0
    decoded: int = 0
    faults: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    """keys of targets without a pixel that should have one"""


def _look(source: Stills, every: int, index: int) -> _Look:
    try:
        sample = source.sample(index)
        if not Path(sample.path).exists():
            return _Look(faults=(f"{sample.key}: missing image ({sample.path})",))
        whole = bool(every) and index % every == 0
        empty = tuple(_decode(sample)) if whole else ()
        if not asks(sample):
            return _Look(decoded=int(whole), empty=(sample.key,))
        told = len(sample.turns) + sum(len(region.captions) for region in sample.regions)
        return _Look(sum(len(target.texts) for target in sample.targets) + told, int(whole), (), empty)
    except Fault as error:
        return _Look(faults=(str(error),))


def _decode(sample: Sample) -> Iterator[str]:
    """Keys of targets and regions without a pixel that should have one. Raises Fault if anything cannot be decoded."""
    shown: dict[int, bool] = {}
    seen: dict[str, bool] = {}
    is_ignoring = False
    for number in range(sample.num_frames):  # one after the other: a video may be long
        known = [index for index, target in enumerate(sample.targets) if target.is_known(number)]
        decoded = clip(sample, frames=Frames(seen=(number,), drawn=(number,)), targets=known)
        for index, mask in zip(known, decoded.masks, strict=True):
            shown[index] = shown.get(index, False) or bool(mask.any())
        is_ignoring = is_ignoring or (decoded.ignore is not None and bool(decoded.ignore.any()))
        for region, masks in zip(sample.regions, decoded.pointed, strict=True):
            seen[region.key] = seen.get(region.key, False) or bool(masks.any())
    yield from (f"{sample.key}, region {key}" for key, is_seen in seen.items() if not is_seen)
    if is_ignoring and sample.num_frames > 1 and not any(shown.values()):
        raise fault(
            sample.key,
            sample.path,
            "no frame has a pixel of any object, and some have pixels that are to be ignored (255); are the masks of 0 and 255? "
            "An object's pixels are its own number, 1 to 254",
        )
    for index, is_shown in shown.items():
        if is_shown and sample.num_frames > 1 and not sample.targets[index].objects:
            raise fault(
                sample.key,
                sample.path,
                f"target {sample.targets[index].key} has pixels and names no thing (`objects`), so that a score of videos would "
                "take it to mean nothing",
            )
        if not is_shown and sample.targets[index].kind != NO_TARGET:
            yield f"{sample.key}, target {sample.targets[index].key}"


def _notes(found: Findings, empty: Sequence[str], about: Description, split: str) -> Iterator[str]:
    if empty:
        yield f"{len(empty)} with nothing to ask for or no pixel, e.g. {', '.join(empty[:3])}"
    published = about.counts.get(split)
    if published not in (None, found.samples):
        yield f"{found.samples} samples; the published set has {published}"
    if about.known_bad and split in about.known_bad:
        yield f"known: {about.known_bad[split]}"


def note_twins(checked: Sequence[Findings], root: Path) -> None:
    """Adds a note to every split that is scored and has pictures of one that is trained on, and a fault for a broken one."""
    by_name = {found.name: found for found in checked}
    good = [open_source(found.name, root, is_whole=False) for found in checked if found.samples]
    for name, told in twins.notes(good):
        if isinstance(told, str):
            by_name[name].notes.append(told)
        elif str(told) not in by_name[name].faults:
            by_name[name].faults.append(str(told))


def report(found: Findings, *, every_fault: bool = False) -> str:
    """Some lines for a person."""
    kind = "wrong" if found.faults else "good"
    lines = [
        f"{found.name}: {kind}; {found.samples} samples, {found.expressions} expressions, {found.decoded} decoded, "
        f"{len(found.faults)} faults"
    ]
    shown = found.faults if every_fault else found.faults[:SHOWN]
    lines += [f"  fault: {without_advice(fault)}" for fault in shown]
    if len(found.faults) > len(shown):
        lines.append(f"  ... {len(found.faults) - len(shown)} more; --all lists them")
    return "\n".join([*lines, *(f"  note: {note}" for note in found.notes)])


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = Parser(prog="python -m seglm.dataset.check", description=__doc__)
    parser.add_argument("--dataset_dir", type=place, default=Path("./data"))
    parser.add_argument(
        "--dataset",
        default="",
        help="data sets, `refcoco|unc|val,ade20k`; default: every split of every set that is there",
    )
    parser.add_argument(
        "--decode", type=typed(Share), default=DECODED_SHARE, help="share of samples decoded whole, 0 to 1"
    )
    parser.add_argument("--all", action="store_true", help="list every fault")
    options = parser.parse_args(arguments)
    if not options.dataset_dir.is_dir():
        raise ValueError(
            f"--dataset_dir {options.dataset_dir}: no such folder; give the one that data sets lie in"
        )
    try:
        specs, absent = names(options.dataset), tuple[str, ...]()
        if not specs:
            specs, absent = _present(options.dataset_dir)
        checked = [check_source(spec, options.dataset_dir, share=options.decode) for spec in specs]
        note_twins(checked, options.dataset_dir)
    except ValueError as error:
        parser.error(str(error))
    lines = [report(found, every_fault=options.all) for found in checked]
    if absent:
        lines.append(f"not there: {', '.join(absent)}")
    if not checked:
        lines.append(f"{options.dataset_dir}: no data set is there. Expected is, for each of them:")
        lines += [
            f"  {about.name}: {', '.join(about.tree)}\n    from {about.home}" for about in descriptions()
        ]
    faults = sum(len(found.faults) for found in checked)
    samples = sum(found.samples for found in checked)
    lines.append(f"{len(checked)} splits, {samples} samples, {faults} faults")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(faults > 0 or not checked)


def _present(root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Splits to look at, and those that are not there, or sets of which nothing is there.

    A set of which a part is there is looked at, so that the rest is asked for.
    """
    there: list[str] = []
    absent: list[str] = []
    for about in descriptions():
        for split in about.splits:
            try:
                open_source(f"{about.name}|{split}", root, is_whole=False)
            except Missing:
                is_wanted = split == about.splits[0] and is_begun(about, root)
            except Fault:
                is_wanted = True
            else:
                is_wanted = True
            (there if is_wanted else absent).append(f"{about.name}|{split}")
        if not any(spec.startswith(f"{about.name}|") for spec in there):
            absent = [spec for spec in absent if not spec.startswith(f"{about.name}|")] + [about.name]
    return tuple(there), tuple(absent)


if __name__ == "__main__":
    sys.exit(main())
