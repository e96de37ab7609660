"""How close a caption is to one or several true ones: METEOR and CIDEr, without Java.

  CIDEr    as the COCO caption evaluation prints it (pycocoevalcap/cider of tylin/coco-caption): n-grams of 1 to 4 words, weighted
           by how few pictures have them in a true caption, clipped, with a penalty for another length; ten times the mean.
           Numbers equal the original's where words are cut alike.
  METEOR   METEOR 1.5's formula for English (Denkowski and Lavie, 2014), alpha 0.85, beta 0.2, gamma 0.6, over the whole corpus.
           Its program is Java and brings tables of synonyms, paraphrases and function words; here words match as they are
           (weight 1) or by their stems (0.6), and all count alike. It is lower than the program's by what these tables find.

Words are lower case, without the marks that the COCO evaluation drops; "it's" is two words, "t-shirt" one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from seglm.evaluation.scores.stem import stem

WORDS = re.compile(r"n't\b|'(?:s|re|ve|ll|d|m)\b|[^\W_]+?(?=n't\b)|[^\W_]+(?:[-.][^\W_]+)*")
LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # of the penalty for another length, in bigrams
ALPHA, BETA, GAMMA = 0.85, 0.2, 0.6  # of METEOR 1.5, English
STEM_WEIGHT = 0.6  # of a match by stems
BEAM = 40  # alignments that are kept, as in METEOR's program
Words = Sequence[str]
Vector = Mapping[tuple[str, ...], float]


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case."""
    return tuple(WORDS.findall(text.lower()))


# ---- CIDEr ----------------------------------------------------------------------------------------------------------
def cider(told: Sequence[str], true: Sequence[Sequence[str]]) -> tuple[float, tuple[float, ...]]:
    """The mean over the pictures, and of each picture; 0 to 10.

    told: a caption for each picture. true: the true ones of each. With a single picture every n-gram is in all of them, so that
    the score is 0, as in the original.
    Raises ValueError if the numbers differ or a picture has no true caption.
    """
    _check(told, true)
    given = [_grams(words_of(text)) for text in told]
    wanted = [[_grams(words_of(text)) for text in of_picture] for of_picture in true]
    pictures = Counter(gram for of_picture in wanted for gram in {gram for one in of_picture for gram in one})
    total = math.log(len(true)) if true else 0.0
    rarity = {gram: total - math.log(count) for gram, count in pictures.items()}
    scores = []
    for caption, of_picture in zip(given, wanted, strict=True):
        alike = [_alike(caption, one, rarity, default=total) for one in of_picture]
        scores.append(10 * sum(alike) / len(alike))
    return (sum(scores) / len(scores) if scores else 0.0), tuple(scores)


def _grams(words: Words) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(words[first : first + n]) for n in range(1, LONGEST + 1) for first in range(len(words) - n + 1)
    )


def _alike(
    one: Counter[tuple[str, ...]], other: Counter[tuple[str, ...]], rarity: Vector, *, default: float
) -> float:
    """The mean over n of the clipped cosine of two captions, each with the penalty for length."""
    found = 0.0
    for n in range(1, LONGEST + 1):
        first, second = (
            {gram: count * rarity.get(gram, default) for gram, count in grams.items() if len(gram) == n}
            for grams in (one, other)
        )
        norms = [math.sqrt(sum(value**2 for value in vector.values())) for vector in (first, second)]
        if all(norms):
            shared = sum(
                min(value, second[gram]) * second[gram] for gram, value in first.items() if gram in second
            )
            found += shared / (norms[0] * norms[1])
    return found / LONGEST * math.exp(-((_bigrams(one) - _bigrams(other)) ** 2) / (2 * SIGMA**2))


def _bigrams(grams: Counter[tuple[str, ...]]) -> int:
    return sum(count for gram, count in grams.items() if len(gram) == 2)


# ---- METEOR ---------------------------------------------------------------------------------------------------------
class Matched(NamedTuple):
    """What two captions have in common. Sums of these are what a corpus has."""

    exact: int
    """words that match as they are"""
    stems: int
    """words that match by their stems alone"""
    chunks: int
    """runs of matches that stand in one order in both"""
    told: int
    """words of the caption"""
    true: int
    """words of the true one"""

    @property
    def score(self) -> float:
        """METEOR, 0 to 1."""
        weight = self.exact + STEM_WEIGHT * self.stems
        if not weight:
            return 0.0
        precision, recall = weight / self.told, weight / self.true
        mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
        number = self.exact + self.stems
        whole = (
            self.chunks == 1 and number == self.told == self.true
        )  # the program gives no penalty for equal captions
        return mean * (1 - (0.0 if whole else GAMMA * (self.chunks / number) ** BETA))


def meteor(told: Sequence[str], true: Sequence[Sequence[str]]) -> tuple[float, tuple[float, ...]]:
    """Of the corpus, from the sums over pictures, and of each picture; each is compared with the true caption nearest to it.

    told, true, errors: as for `cider`.
    """
    _check(told, true)
    best = [
        max((matched(words_of(text), words_of(one)) for one in of_picture), key=lambda found: found.score)
        for text, of_picture in zip(told, true, strict=True)
    ]
    total = Matched(*map(sum, zip(*best, strict=True))) if best else Matched(0, 0, 0, 0, 0)
    return total.score, tuple(one.score for one in best)


@dataclass(frozen=True)
class _Alignment:
    """A part of one, up to some word of the caption."""

    exact: int = 0
    stems: int = 0
    chunks: int = 0
    distance: int = 0
    last: int = -2
    """place in the true caption of the word matched last, if the caption's last word is; else -2"""
    used: frozenset[int] = frozenset()

    @property
    def rank(self) -> tuple[int, int, int]:
        """The most words, then the fewest chunks, then the shortest way between places."""
        return -(self.exact + self.stems), self.chunks, self.distance


def matched(told: Words, true: Words) -> Matched:
    """The best alignment of two captions, each word of one with at most one of the other."""
    stems = [stem(word) for word in true]
    beam = [_Alignment()]
    for place, word in enumerate(told):
        root = stem(word)
        fitting = [
            (other, true[other] == word)
            for other in range(len(true))
            if true[other] == word or stems[other] == root
        ]
        found: dict[tuple[int, frozenset[int]], _Alignment] = {}
        for one in beam:
            for further in (
                _skipped(one),
                *(_with(one, place, *match) for match in fitting if match[0] not in one.used),
            ):
                key = further.last, further.used
                if key not in found or further.rank < found[key].rank:
                    found[key] = further
        beam = sorted(found.values(), key=lambda one: one.rank)[:BEAM]
    best = min(beam, key=lambda one: one.rank)
    return Matched(best.exact, best.stems, best.chunks, len(told), len(true))


def _skipped(one: _Alignment) -> _Alignment:
    return _Alignment(one.exact, one.stems, one.chunks, one.distance, -2, one.used)


def _with(one: _Alignment, place: int, other: int, is_exact: bool) -> _Alignment:
    return _Alignment(
        one.exact + is_exact,
        one.stems + (not is_exact),
        one.chunks + (other != one.last + 1),
        one.distance + abs(place - other),
        other,
        one.used | {other},
    )


def _check(told: Sequence[str], true: Sequence[Sequence[str]]) -> None:
    if len(told) != len(true):
        raise ValueError(f"{len(told)} captions for {len(true)} pictures; each picture has one")
    if empty := [number for number, of_picture in enumerate(true) if not of_picture]:
        raise ValueError(
            f"picture {empty[0]} has no true caption, and {len(empty) - 1} more have none; each has one at least"
        )
