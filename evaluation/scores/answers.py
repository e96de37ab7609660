"""Answers in words: whether they are the true ones, to the word, for each kind of question."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
MARKS = re.compile(r"[^\w\s]|_")


@dataclass(frozen=True)
class Asked:
    """A question with what was said and what is true."""

    key: str
    """names the sample and the question in it"""
    question: str
    told: str
    true: str
    kind: str = ""


@dataclass(frozen=True)
class Score:
    n: int
    accuracy: float
    """share of answers that are the true ones, see `plain`"""
    holds: float
    """share of answers that hold the true one as whole words, or are it"""


def plain(text: str, *, articles: bool = False) -> str:
    """Lower case, without marks and articles, single spaces: "It is the Red ring." is "it is red ring".

    articles: they stay.
    """
    words = MARKS.sub(" ", text.lower())
    return " ".join((words if articles else ARTICLES.sub(" ", words)).split())


def score(asked: Sequence[Asked]) -> Score:
    """Of all answers together; shares of none are 0."""
    pairs = [_compared(one) for one in asked]
    right = sum(told == true for told, true in pairs)
    holding = sum(told == true or (bool(true) and f" {true} " in f" {told} ") for told, true in pairs)
    count = max(1, len(pairs))
    return Score(len(pairs), right / count, holding / count)


def _compared(one: Asked) -> tuple[str, str]:
    """What was told and what is true. An answer that is nothing but an article, as the A of several choices, is a word."""
    articles = not plain(one.true)
    return plain(one.told, articles=articles), plain(one.true, articles=articles)


def by_kind(asked: Sequence[Asked]) -> Mapping[str, Score]:
    """The same for each kind, by its name."""
    kinds: defaultdict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        kinds[one.kind].append(one)
    return {kind: score(kinds[kind]) for kind in sorted(kinds)}
