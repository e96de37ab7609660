"""How much the words alone tell of whether anything fits them: `python -m tests.toy.text_only data/toy` prints it.

A logistic regression on words, pairs and triples of words and the length, fitted to the train split and asked about val. Its
accuracy is the mean of those on expressions with and without a referent, so a guess and a constant both have 0.5.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.readers.refer import NO_TARGET
from seglm.dataset.sources import open_source

Labelled = Sequence[tuple[str, bool]]
"""(text, True if nothing fits it)"""
RARE = 2  # features seen less often are left out
STEPS, RATE, DECAY = 150, 0.3, 1e-4


@dataclass(frozen=True)
class Accuracy:
    """Balanced: the mean over both classes, chance is 0.5."""

    train: float
    """on what it was fitted to; far above 0.5 for any set of rare words"""
    val: float
    area: float
    """under the ROC curve on val"""


def accuracy(train: Labelled, val: Labelled) -> Accuracy:
    """Fits to `train`, asks about both."""
    counted = Counter(feature for text, _ in train for feature in features(text))
    known = {feature: place for place, feature in enumerate(f for f, n in counted.items() if n >= RARE)}
    weights = _fit(_places(train, known), np.array([label for _, label in train]), len(known))
    scores = {name: weights[_places(part, known)].sum(1) for name, part in (("train", train), ("val", val))}
    labels = np.array([label for _, label in val])
    order = scores["val"].argsort().argsort()
    positives, negatives = labels.sum(), (~labels).sum()
    area = (order[labels].sum() - positives * (positives - 1) / 2) / (positives * negatives)
    return Accuracy(
        _balanced(scores["train"], np.array([label for _, label in train])),
        _balanced(scores["val"], labels),
        float(area),
    )


def features(text: str) -> list[str]:
    """Words, pairs and triples of neighbours, and the length; each once."""
    words = ["<", *text.lower().replace("?", "").split(), ">"]
    grams = [" ".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)]
    return sorted({*grams, f"{len(words)} words"})


def _places(part: Labelled, known: dict[str, int]) -> NDArray[np.int64]:
    """int64 [texts, features], the constant's place (last but one) first, filled up with a place of weight 0 (the last)."""
    rows = [
        [len(known), *(known[feature] for feature in features(text) if feature in known)] for text, _ in part
    ]
    places = np.full((len(rows), max(map(len, rows))), len(known) + 1)
    for number, row in enumerate(rows):
        places[number, : len(row)] = row
    return places


def _fit(places: NDArray[np.int64], labels: NDArray[np.bool_], num: int) -> NDArray[np.float64]:
    """Weights float64 [num + 2] by full-batch AdaGrad; both classes weigh the same."""
    share = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())
    weights, squares = np.zeros(num + 2), np.full(num + 2, 1e-12)
    for _ in range(STEPS):
        error = share * (1 / (1 + np.exp(-weights[places].sum(1))) - labels)
        slope = np.bincount(places.ravel(), np.repeat(error, places.shape[1]), num + 2) + DECAY * weights
        slope[-1] = 0
        squares += slope**2
        weights -= RATE * slope / np.sqrt(squares)
    return weights


def _balanced(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    return float(((scores > 0)[labels].mean() + (scores <= 0)[~labels].mean()) / 2)


def read(root: Path, split: str) -> list[tuple[str, bool]]:
    """The expressions of gRefCOCO's split in a written world."""
    source = open_source(f"grefcoco|unc|{split}", root)
    targets = [target for index in range(len(source)) for target in source.sample(index).targets]
    return [
        (text, kind == NO_TARGET) for one in targets for text, kind in zip(one.texts, one.kinds, strict=True)
    ]


def main(root: Path) -> None:
    train, val = read(root, "train"), read(root, "val")
    got = accuracy(train, val)
    print(
        f"none or not, from the words alone: {got.val:.3f} on {len(val)} expressions of val (chance 0.5; area {got.area:.3f}; "
        f"{got.train:.3f} on the {len(train)} of train)"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/toy"))
