"""What `--val_dataset` may name: every data set that says in its description how it is scored.

`NAME[|MADE_BY]|SPLIT[|all_texts|first_text]`, e.g. `refcoco|unc|testA`, `refcoco|testA|first_text`; without the second field the
split the papers report. A folder `evaluation/<benchmark>` with a protocol.py reads the specs of its own names instead.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from seglm import evaluation
from seglm.dataset.description import Description, Scored, Wording
from seglm.dataset.pipeline import Source
from seglm.dataset.sources import descriptions, open_source
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.results import CONVENTIONS, Convention
from seglm.utils.did_you_mean import unknown
from seglm.utils.types import Sample

WORDINGS: Mapping[str, Wording] = {"all_texts": "all", "first_text": "first"}


@dataclass(frozen=True)
class Benchmark:
    """Which expressions are scored, and what they are called."""

    name: str
    """as it is printed with the score, e.g. `ReasonSeg|test|long|first`"""
    data: str
    """what `open_source` opens, e.g. `ReasonSeg|test`"""
    texts: Wording
    """which wordings of a target are asked"""
    scored: Scored
    """how, as the data set says it"""
    keep: Callable[[Sample], bool] | None = None
    """which samples belong to it; None for all"""

    @property
    def rule(self) -> str:
        """One line: what is an expression here, and whose rule it is."""
        return self.scored.rules[self.texts]

    def average(self, convention: Convention | None) -> Convention:
        """The convention that is asked for, or the default. Raises ValueError for one that is not the benchmark's."""
        permitted = self.scored.conventions
        if strange := [name for name in permitted if name not in CONVENTIONS]:
            raise ValueError(unknown(f"convention of {self.data}", strange[0], CONVENTIONS))
        if convention is not None and convention not in permitted:
            raise ValueError(
                f"--convention {convention} is not for {self.name}; permitted are {', '.join(permitted)}"
            )
        return convention or cast(Convention, permitted[0])

    def open(self, dataset_dir: Path | str) -> Selection:
        """The benchmark's expressions on disk."""
        return self.select(open_source(self.data, Path(dataset_dir)))

    def select(self, source: Source) -> Selection:
        """The benchmark's expressions of a source that is open."""
        return Selection(source, texts=self.texts, keep=self.keep)


def benchmark(spec: str) -> Benchmark:
    """The benchmark that `ReasonSeg|val`, `ReasonSeg|test|long`, `refcoco|unc|testA`, `refcoco|val|first_text` ... names.

    Raises ValueError that lists what is permitted.
    """
    name, *fields = [part.strip() for part in spec.split("|")]
    known = {name.lower(): about for about in descriptions() if about.scored for name in about.names}
    if name.lower() not in known:
        names = [about.name for about in descriptions() if about.scored]
        raise ValueError(unknown("benchmark", spec, names, more="e.g. --val_dataset 'ReasonSeg|val'"))
    about = known[name.lower()]
    return _protocols().get(about.name, declared)(about, fields)


def declared(about: Description, fields: Sequence[str]) -> Benchmark:
    """The benchmark of a spec by nothing but the data set's description. Raises ValueError that lists what is permitted.

    fields: of the spec, behind the name.
    """
    assert about.scored is not None, f"{about.name} is not scored"
    spec, texts = "|".join([about.name, *fields]), next(iter(about.scored.rules))
    name_ends = ""
    if len(about.scored.rules) > 1 and fields and fields[-1].lower() in WORDINGS:
        chosen, fields = WORDINGS[fields[-1].lower()], fields[:-1]
        name_ends = "" if chosen == texts else f"|{chosen}_text{'s' * (chosen == 'all')}"
        texts = chosen
    makers: dict[str, list[str]] = {}
    for split in sorted(about.splits, key=lambda one: one.rpartition("|")[2].startswith("train")):
        maker, _, part = split.rpartition("|")
        makers.setdefault(maker, []).append(part)
    if len(fields) == 1:
        fields = [_first_maker(about), *fields]
    if len(fields) != 2:
        example = "|".join(
            part for part in (about.name, _first_maker(about), makers[_first_maker(about)][0]) if part
        )
        raise ValueError(f"{spec!r} has {len(fields)} fields after the name; it is {example}")
    maker = pick(spec, "splits by", fields[0], tuple(makers))
    split = pick(spec, "split", fields[1], tuple(makers[maker]))
    data = "|".join(part for part in (about.name, maker, split) if part)
    return Benchmark(data + name_ends, data, texts, about.scored)


def pick(spec: str, name: str, value: str, permitted: Sequence[str]) -> str:
    """`value`, if it is permitted; upper and lower case do not matter."""
    for one in permitted:
        if one.lower() == value.lower():
            return one
    raise ValueError(f"{spec!r}: {name} {value!r} is not permitted; permitted are {', '.join(permitted)}")


def _first_maker(about: Description) -> str:
    return about.splits[0].rpartition("|")[0]


def _protocols() -> dict[str, Callable[[Description, Sequence[str]], Benchmark]]:
    """Name of a data set -> the function that reads the specs of its own protocol."""
    found: dict[str, Callable[[Description, Sequence[str]], Benchmark]] = {}
    for info in pkgutil.iter_modules(evaluation.__path__):
        if info.ispkg and (Path(str(evaluation.__path__[0])) / info.name / "protocol.py").exists():
            protocol = importlib.import_module(f"{evaluation.__name__}.{info.name}.protocol")
            found.update(dict.fromkeys(protocol.NAMES, protocol.benchmark))
    return found
