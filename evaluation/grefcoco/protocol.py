"""gRefCOCO and Ref-ZOM as they are scored: every sentence is one expression, and some have no referent.

`grefcoco[|unc]|SPLIT` (val, testA, testB, train) and `refzom[|final]|SPLIT` (test, train).
The default convention is GSVA's; `--convention rela` is the official evaluator's, `lisa` and `plain` look at the masks alone.
Beside gIoU and cIoU stand N-acc, T-acc, Pr@0.7/0.8/0.9, and the gIoU of the expressions with a referent.
"""

from __future__ import annotations

from collections.abc import Mapping

from seglm.evaluation.asking.benchmark import Benchmark, pick

SPLITS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "grefcoco": ("unc", ("val", "testA", "testB", "train")),
    "refzom": ("final", ("test", "train")),
}
"""data set -> (who made the splits, splits)"""
NAMES = tuple(SPLITS)
RULE = "one expression a sentence, those without a referent too"


def benchmark(name: str, fields: list[str]) -> Benchmark:
    """The benchmark of a spec that begins with `name`. Raises ValueError that lists what is permitted."""
    spec = "|".join([name, *fields])
    maker, splits = SPLITS[name]
    if len(fields) == 1:
        fields = [maker, *fields]
    if len(fields) != 2:
        raise ValueError(
            f"{spec!r} has {len(fields)} fields after the name; it is {name}|{maker}|{splits[0]}"
        )
    pick(spec, "splits by", fields[0], (maker,))
    split = pick(spec, "split", fields[1], splits)
    return Benchmark(
        name=f"{name}|{maker}|{split}",
        data=f"{name}|{maker}|{split}",
        texts="all",
        convention=RULE,
        conventions=("gsva", "rela", "lisa", "plain"),
        drawn_empty_adds=name != "refzom",
    )
