"""ReasonSeg as it is scored: val, and test by the length of the question.

`ReasonSeg|SPLIT[|short|long|all][|first_text|all_texts]`
- split: train, val, test;
- short are the phrases, long the sentences (`is_sentence`); all is the default;
- first_text, the default, is LISA's rule: one expression a picture, the first of its texts (utils/dataset.py:386 at 3cb2d43).
  all_texts makes every wording an expression. The two are different numbers; the name of the score says which it is.
Papers that report 777 pictures of test leave out two whose JSON has no polygon; here they are empty targets, as in LISA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from seglm.dataset.description import Description
from seglm.evaluation.asking.benchmark import WORDINGS, Benchmark, declared, pick
from seglm.utils.types import Sample

NAMES = ("ReasonSeg",)
SPLITS = ("val", "test", "train")
LENGTHS = ("short", "long", "all")
TEXTS = ("first_text", "all_texts")


def benchmark(about: Description, fields: Sequence[str]) -> Benchmark:
    """The benchmark of a spec of ReasonSeg's. Raises ValueError that lists what is permitted."""
    spec = "|".join([about.name, *fields])
    split = pick(spec, "split", fields[0] if fields else "", SPLITS)
    length, texts = "all", "first_text"
    for value in fields[1:]:
        chosen = pick(spec, "length or texts", value, LENGTHS + TEXTS)
        length, texts = (chosen, texts) if chosen in LENGTHS else (length, chosen)
    plain = declared(about, [split])
    name = f"{plain.data}|{length}|{texts}"
    return replace(plain, name=name, texts=WORDINGS[texts], keep=_of_length(length))


def _of_length(length: str) -> Callable[[Sample], bool] | None:
    return {"all": None, "short": _is_short, "long": _is_long}[length]


def _is_short(sample: Sample) -> bool:
    return not _is_long(sample)


def _is_long(sample: Sample) -> bool:
    return any(target.is_sentence for target in sample.targets)
