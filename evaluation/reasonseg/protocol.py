"""ReasonSeg as it is scored: val, and test by the length of the question.

`ReasonSeg|SPLIT[|short|long|all][|first_text|all_texts]`
- short are the phrases, long the sentences (`is_sentence`); all is the default;
- first_text, the default, and all_texts are different numbers; the name of the score always says which it is.
Papers that report 777 pictures of test leave out two whose JSON has no polygon; here they are empty targets, as in LISA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seglm.dataset.description import Description, Scored
from seglm.evaluation.asking.benchmark import TEXTS, Benchmark, pick
from seglm.utils.types import Sample

NAMES = ("ReasonSeg",)
LENGTHS = ("short", "long", "all")


def benchmark(about: Description, scored: Scored, fields: Sequence[str]) -> Benchmark:
    """The benchmark of a spec. fields: behind the name. Raises ValueError that lists what is permitted."""
    spec = "|".join([about.name, *fields])
    split = pick(spec, "split", fields[0] if fields else "", about.scored_splits)
    length, texts = "all", "first_text"
    for value in fields[1:]:
        chosen = pick(spec, "length or texts", value, (*LENGTHS, *TEXTS))
        length, texts = (chosen, texts) if chosen in LENGTHS else (length, chosen)
    return Benchmark(
        name=f"{about.name}|{split}|{length}|{texts}",
        data=f"{about.name}|{split}",
        texts=TEXTS[texts],
        rule=scored.texts[TEXTS[texts]],
        scored=scored,
        keep=_of_length(length),
    )


def _of_length(length: str) -> Callable[[Sample], bool] | None:
    return {"all": None, "short": _is_short, "long": _is_long}[length]


def _is_short(sample: Sample) -> bool:
    return not _is_long(sample)


def _is_long(sample: Sample) -> bool:
    return any(target.is_sentence for target in sample.targets)
