"""What `--val_dataset` may name: every data set whose description says how it is scored.

`NAME[|MAKER]|SPLIT[|first_text|all_texts]`, e.g. `refcoco|unc|testA`; without MAKER the description's first, as papers report it.
A folder beside this one with a protocol.py reads the specs of the data sets in its NAMES itself, if that is not enough.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from seglm.dataset.description import Description, Scored, Texts
from seglm.dataset.pipeline import Source
from seglm.dataset.sources import descriptions, loaders, open_source
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.results import CONVENTIONS, Convention, is_of_videos
from seglm.utils.did_you_mean import unknown
from seglm.utils.types import Sample

TEXTS: Mapping[str, Texts] = {"first_text": "first", "all_texts": "all"}
"""as a spec says it -> what it means"""


@dataclass(frozen=True)
class Benchmark:
    """Which expressions are scored, and what they are called."""

    name: str
    """as it is printed with the score, e.g. `ReasonSeg|test|long|first_text`"""
    data: str
    """what `open_source` opens, e.g. `ReasonSeg|test`"""
    texts: Texts
    """which wordings of a target are asked"""
    rule: str
    """one line: what is an expression here, and whose rule it is"""
    scored: Scored
    """what the data set says of itself as a benchmark"""
    keep: Callable[[Sample], bool] | None = None
    """which samples belong to it; None for all"""

    @property
    def is_of_videos(self) -> bool:
        """Whether an expression is scored in all frames of a video together."""
        return is_of_videos(self.scored.conventions[0])

    def check_truth(self) -> None:
        """Raises ValueError if only a server knows the truth, so that masks can be written but not scored."""
        if self.data.partition("|")[2] in self.scored.served:
            raise ValueError(
                f"--val_dataset {self.name}: only the benchmark's server knows its truth; write masks with `python -m "
                "seglm.evaluation.run --inference_only`, and hand in what `python -m seglm.evaluation.submit` makes of them"
            )

    def average(self, convention: Convention | None) -> Convention:
        """The convention that is asked for, or the default. Raises ValueError for one that is not the benchmark's."""
        permitted = self.scored.conventions
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
        return Selection(
            source,
            texts=self.texts,
            keep=self.keep,
            blank=self.scored.blank,
            is_of_videos=self.is_of_videos,
        )


def benchmark(spec: str) -> Benchmark:
    """The benchmark that a spec names, e.g. `refcoco|unc|testA`; upper and lower case do not matter.

    Raises ValueError that lists what is permitted.
    """
    name, *fields = [part.strip() for part in spec.split("|")]
    known, scorable = loaders(), [about.name for about in descriptions() if about.scored]
    if name.lower() not in known:
        raise ValueError(unknown("benchmark", spec, scorable, more="e.g. --val_dataset 'ReasonSeg|val'"))
    about = known[name.lower()].DESCRIPTION
    if about.scored is None:
        raise ValueError(
            f"{spec!r}: {about.name} is no benchmark (its description says scored=None); permitted are "
            + ", ".join(scorable)
        )
    for convention in about.scored.conventions:
        if convention not in CONVENTIONS:
            raise ValueError(unknown(f"entry of {about.name}'s scored.conventions", convention, CONVENTIONS))
    return _protocols().get(about.name, declared)(about, about.scored, fields)


def declared(about: Description, scored: Scored, fields: Sequence[str]) -> Benchmark:
    """The benchmark of a data set that its description alone declares.

    fields: of the spec, behind the name. Raises ValueError that lists what is permitted.
    """
    spec, splits = "|".join([about.name, *fields]), (*about.scored_splits, *scored.served)
    default = texts = next(iter(scored.texts))
    if fields and TEXTS.get(fields[-1].lower()) in scored.texts:
        *fields, last = fields
        texts = TEXTS[last.lower()]
    makers = tuple(dict.fromkeys(split.rpartition("|")[0] for split in splits))
    has_makers = makers != ("",)
    maker, *rest = fields if has_makers and len(fields) > 1 else (makers[0], *fields)
    if len(rest) != 1 and (rest or has_makers):
        raise ValueError(f"{spec!r} has {len(fields)} fields after the name; it is {about.name}|{splits[0]}")
    maker = pick(spec, "splits by", maker, makers)
    own = tuple(split.rpartition("|")[2] for split in splits if split.rpartition("|")[0] == maker)
    split = pick(spec, "split", "".join(rest), own)
    data = "|".join(part for part in (about.name, maker, split) if part)
    ending = "" if texts == default else f"|{_word(texts)}"
    return Benchmark(data + ending, data, texts, scored.texts[texts], scored)


def pick(spec: str, name: str, value: str, permitted: tuple[str, ...]) -> str:
    """`value`, if it is permitted; upper and lower case do not matter."""
    for one in permitted:
        if one.lower() == value.lower():
            return one
    raise ValueError(f"{spec!r}: {name} {value!r} is not permitted; permitted are {', '.join(permitted)}")


def _word(texts: Texts) -> str:
    return next(word for word, meant in TEXTS.items() if meant == texts)


_Protocol = Callable[[Description, Scored, Sequence[str]], Benchmark]


def _protocols() -> dict[str, _Protocol]:
    found: dict[str, _Protocol] = {}
    for file in sorted(Path(__file__).parents[1].glob("*/protocol.py")):
        protocol = importlib.import_module(f"seglm.evaluation.{file.parent.name}.protocol")
        found.update(dict.fromkeys(protocol.NAMES, protocol.benchmark))
    return found
