"""RefCOCO, RefCOCO+, RefCOCOg and refCLEF as they are scored: every sentence of every ref is one expression.

`refcoco[|unc|google]|SPLIT`, e.g. `refcoco|unc|testA`, `refcocog|umd|test`; without the second field the split the papers report.
`|first_text` at the end scores only the first sentence of each ref, as KeySeg does; the name of the score says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from seglm.evaluation.asking.benchmark import Benchmark, pick
from seglm.evaluation.asking.expressions import Texts

SPLITS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "refcoco": {"unc": ("val", "testA", "testB", "train"), "google": ("val", "test", "train")},
    "refcoco+": {"unc": ("val", "testA", "testB", "train")},
    "refcocog": {"umd": ("val", "test", "train"), "google": ("val", "train")},
    "refclef": {
        "unc": ("val", "testA", "testB", "testC", "test", "train"),
        "berkeley": ("val", "test", "train"),
    },
}
"""data set -> who made the splits (the papers' first) -> splits"""
NAMES = tuple(SPLITS)
TEXTS = ("all_texts", "first_text")
RULES: dict[Texts, str] = {
    "all": "one expression a sentence, all sentences of all refs",
    "first": "one expression a ref, its first sentence (KeySeg's rule; the field scores all sentences)",
}


def benchmark(name: str, fields: list[str]) -> Benchmark:
    """The benchmark of a spec that begins with `name`. Raises ValueError that lists what is permitted."""
    spec = "|".join([name, *fields])
    makers = tuple(SPLITS[name])
    which: Texts = "all"
    if fields and fields[-1].lower() in TEXTS:
        which = "first" if fields[-1].lower() == "first_text" else "all"
        fields = fields[:-1]
    if len(fields) == 1:
        fields = [makers[0], *fields]
    if len(fields) != 2:
        raise ValueError(f"{spec!r} has {len(fields)} fields after the name; it is {name}|{makers[0]}|val")
    maker = pick(spec, "splits by", fields[0], makers)
    split = pick(spec, "split", fields[1], SPLITS[name][maker])
    return Benchmark(
        name=f"{name}|{maker}|{split}" + ("|first_text" if which == "first" else ""),
        data=f"{name}|{maker}|{split}",
        texts=which,
        convention=RULES[which],
    )
