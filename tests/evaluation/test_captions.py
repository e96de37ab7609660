"""METEOR and CIDEr by hand, stems by the words of Porter's paper."""

from __future__ import annotations

import math

import pytest

from seglm.evaluation.scores.captions import Matched, cider, matched, meteor, words_of
from seglm.evaluation.scores.stem import measure, stem

PORTER = """
caresses caress, ponies poni, ties ti, caress caress, cats cat, feed feed, agreed agre, plastered plaster, bled bled,
motoring motor, sing sing, conflated conflat, troubled troubl, sized size, hopping hop, tanned tan, falling fall, hissing hiss,
fizzed fizz, failing fail, filing file, happy happi, sky sky, relational relat, conditional condit, rational ration,
digitizer digit, vietnamization vietnam, feudalism feudal, decisiveness decis, hopefulness hope, triplicate triplic,
formalize formal, electriciti electr, electrical electr, goodness good, revival reviv, allowance allow, inference infer,
airliner airlin, adjustable adjust, replacement replac, adjustment adjust, adoption adopt, communism commun, activate activ,
effective effect, probate probat, rate rate, cease ceas, controll control, roll roll, is is, t-shirt t-shirt
"""


@pytest.mark.parametrize("pair", PORTER.replace("\n", " ").split(","))
def test_words_of_porters_paper_have_its_stems(pair: str) -> None:
    word, want = pair.split()
    assert stem(word) == want


@pytest.mark.parametrize(
    "word, want", [("tr", 0), ("tree", 0), ("trouble", 1), ("oats", 1), ("troubles", 2), ("private", 2)]
)
def test_the_measure_of_a_word(word: str, want: int) -> None:
    assert measure(word) == want


def test_words_are_cut_as_the_coco_evaluation_cuts_them() -> None:
    said = "It's a T-shirt; the dogs aren't here (no, 3)..."
    assert words_of(said) == ("it", "'s", "a", "t-shirt", "the", "dogs", "are", "n't", "here", "no", "3")


@pytest.mark.parametrize(
    "told, true, want",
    [
        ("the cat sat", "the cat sat", Matched(3, 0, 1, 3, 3)),
        (
            "on the mat sat the cat",
            "the cat sat on the mat",
            Matched(6, 0, 3, 6, 6),
        ),  # on the mat / sat / the cat
        ("a dog", "two cats", Matched(0, 0, 0, 2, 2)),
        ("cats", "a cat", Matched(0, 1, 1, 1, 2)),
        ("the the cat", "the cat", Matched(2, 0, 1, 3, 2)),  # the second "the" is in the run
        ("", "a cat", Matched(0, 0, 0, 0, 2)),
    ],
)
def test_words_are_aligned_with_the_fewest_runs(told: str, true: str, want: Matched) -> None:
    assert matched(words_of(told), words_of(true)) == want


def test_meteor_by_hand() -> None:
    """P = 1.6/3, R = 1.6/4, F = PR/(0.85 P + 0.15 R), one run of two words."""
    precision, recall = 1.6 / 3, 1.6 / 4
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    want = mean * (1 - 0.6 * (1 / 2) ** 0.2)
    score, each = meteor(["red cats run"], [["the red cat sleeps"]])
    assert score == pytest.approx(want) and each == (pytest.approx(want),)
    assert meteor(["the cat"], [["the cat"]])[0] == 1.0
    assert meteor(["a dog"], [["two cats"]])[0] == 0.0
    assert meteor(["the cat"], [["two dogs", "the cat"]])[0] == 1.0, "the true caption that is nearest"
    corpus, each = meteor(["the cat", "a dog"], [["the cat"], ["two cats"]])
    total = Matched(2, 0, 1, 4, 4)
    assert corpus == pytest.approx(total.score) and sum(each) / 2 != pytest.approx(corpus), (
        "sums, not a mean of scores"
    )


def test_cider_by_hand() -> None:
    """Two pictures. "a" is in both, so its weight is log(2/2) = 0; every other word's is log 2.

    First picture: told "a ring", true "a ring": unigrams (0, log 2) equal, bigrams equal: 1 each; no 3- and 4-grams: (1 + 1)/4.
    Second: told "a cat", true "a dog": nothing of weight in common: 0.
    """
    score, each = cider(["a ring", "a cat"], [["a ring"], ["a dog"]])
    assert each == (pytest.approx(5.0), 0.0) and score == pytest.approx(2.5)


def test_cider_takes_off_for_another_length_and_for_words_said_again() -> None:
    """Told "ring ring", true "ring": counts 2 and 1 clipped to 1: 1 * 1 / (2 * 1) = 1/2 of the unigrams; one bigram more."""
    _, each = cider(["ring ring", "dog"], [["ring"], ["dog"]])
    assert each[0] == pytest.approx(10 * (0.5 / 4) * math.exp(-1 / 72)) and each[1] == pytest.approx(10 / 4)


def test_cider_is_the_mean_over_the_true_captions_and_nothing_for_a_single_picture() -> None:
    _, each = cider(["ring", "dog"], [["ring", "star"], ["dog"]])
    assert each[0] == pytest.approx(10 / 4 / 2)
    assert cider(["a ring"], [["a ring"]])[0] == 0.0


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match="1 captions for 2 pictures"):
        cider(["a"], [["a"], ["b"]])
    with pytest.raises(ValueError, match="picture 1 has no true caption, and 0 more"):
        meteor(["a", "b"], [["a"], []])
