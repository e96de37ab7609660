"""Questions about pictures and videos with an answer in words: asked, read, scored."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.evaluation.asking.ask import ask as ask_model
from seglm.evaluation.scores.answers import Asked, Score, by_kind
from seglm.evaluation.scores.answers import score as score_answers
from seglm.evaluation.scores.files import each_once, read_lines
from seglm.evaluation.scores.grounded import Likeness
from seglm.evaluation.told.captions import Chosen
from seglm.utils.types import Sample

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

FILE = "answers.csv"
FIELDS = ("key", "question", "answer")


def ask(model: Segmenter, sample: Sample, *, max_new_tokens: int) -> list[Mapping[str, Any]]:
    """A line of the file for each question about a sample; each is asked alone, in a conversation of its own."""
    rows: list[Mapping[str, Any]] = []
    for number, (question, _) in enumerate(sample.turns):
        drawn = next(ask_model(model, sample, question, max_new_tokens=max_new_tokens))
        line = (f"{sample.key}/{number}", question, drawn.answers[0].spoken.text)
        rows.append(dict(zip(FIELDS, line, strict=True)))
    return rows


def write(rows: Iterable[Mapping[str, Any]], out: Path) -> None:
    """FILE, a line for each question."""
    with (out / FILE).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, FIELDS)
        table.writeheader()
        table.writerows(rows)


def score(chosen: Chosen, place: Path, alike: Likeness) -> Mapping[str, Score]:
    """Of a file, or of the one in a folder.

    Raises ValueError if an answer is missing or there twice, if a question is another, and for a malformed line.
    """
    file = place / FILE if place.is_dir() else place
    rows = read_lines(file, FIELDS, dict)
    lines = each_once(((line["key"], line) for line in rows), f"{file}: two lines answer")
    asked = list(_asked(chosen))
    if missing := [one.key for one in asked if one.key not in lines]:
        raise ValueError(f"{file}: no answer to {len(missing)} of {len(asked)} questions, first {missing[0]}")
    if other := [one for one in asked if lines[one.key]["question"] != one.question]:
        raise ValueError(
            f"{file}: {other[0].key} is the answer to {lines[other[0].key]['question']!r}, asked is {other[0].question!r}"
        )
    told = [replace(one, told=lines[one.key]["answer"]) for one in asked]
    kinds = by_kind(told)
    return {"all": score_answers(told), **(kinds if list(kinds) != [""] else {})}


def _asked(chosen: Chosen) -> Iterator[Asked]:
    for sample in chosen:
        kinds = sample.turn_kinds or ("",) * len(sample.turns)
        for number, ((question, answer), kind) in enumerate(zip(sample.turns, kinds, strict=True)):
            yield Asked(f"{sample.key}/{number}", question, "", answer, kind)
