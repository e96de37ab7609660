"""What `--val_dataset` may name: every folder here with a protocol.py is a benchmark."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seglm import evaluation
from seglm.dataset.pipeline import Source
from seglm.dataset.sources import open_source
from seglm.evaluation.asking.expressions import Texts, View
from seglm.evaluation.scores.results import Convention
from seglm.utils.did_you_mean import unknown
from seglm.utils.types import Sample


@dataclass(frozen=True)
class Benchmark:
    """Which expressions are scored, and what they are called."""

    name: str
    """as it is printed with the score, e.g. `ReasonSeg|test|long|first`"""
    data: str
    """what `open_source` opens, e.g. `ReasonSeg|test`"""
    texts: Texts
    """which wordings of a target are asked"""
    convention: str
    """one line: what is an expression here, and whose rule it is"""
    keep: Callable[[Sample], bool] | None = None
    """which samples belong to it; None for all"""
    conventions: tuple[Convention, ...] = ("lisa", "plain")
    """by which its expressions may be averaged; the first is the default"""
    drawn_empty_adds: bool = True
    """see `metrics.grefer.score`"""

    def average(self, convention: Convention | None) -> Convention:
        """The convention that is asked for, or the default. Raises ValueError for one that is not the benchmark's."""
        if convention is not None and convention not in self.conventions:
            raise ValueError(
                f"--convention {convention} is not for {self.name}; permitted are {', '.join(self.conventions)}"
            )
        return convention or self.conventions[0]

    def open(self, dataset_dir: Path | str) -> View:
        """The benchmark's expressions on disk."""
        return self.view(open_source(self.data, Path(dataset_dir)))

    def view(self, source: Source) -> View:
        """The benchmark's expressions of a source that is open."""
        return View(source, texts=self.texts, keep=self.keep)


def benchmark(spec: str) -> Benchmark:
    """The benchmark that `ReasonSeg|val`, `ReasonSeg|test|long`, `refcoco|unc|testA`, `ReasonSeg|val|all_texts` ... names.

    Raises ValueError that lists what is permitted.
    """
    name, *fields = [part.strip() for part in spec.split("|")]
    readers = _readers()
    known = {one.lower(): one for one in readers}
    if name.lower() not in known:
        raise ValueError(unknown("benchmark", spec, readers, more="e.g. --val_dataset 'ReasonSeg|val'"))
    return readers[known[name.lower()]](known[name.lower()], fields)


def pick(spec: str, name: str, value: str, permitted: tuple[str, ...]) -> str:
    """`value`, if it is permitted; upper and lower case do not matter."""
    for one in permitted:
        if one.lower() == value.lower():
            return one
    raise ValueError(f"{spec!r}: {name} {value!r} is not permitted; permitted are {', '.join(permitted)}")


def _readers() -> dict[str, Callable[[str, list[str]], Benchmark]]:
    found: dict[str, Callable[[str, list[str]], Benchmark]] = {}
    for info in pkgutil.iter_modules(evaluation.__path__):
        if info.ispkg and (Path(str(evaluation.__path__[0])) / info.name / "protocol.py").exists():
            protocol = importlib.import_module(f"{evaluation.__name__}.{info.name}.protocol")
            found.update(dict.fromkeys(protocol.NAMES, protocol.benchmark))
    return found
