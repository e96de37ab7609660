"""Nobody can tell from the words alone whether anything in the picture fits them.

The reader is a naive Bayes over words and pairs of words, trained on half of the scenes and tried on the other half. Its AUC
(chance 0.5) is what is held to chance; a planted leak shows that it would find one.
"""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from seglm.dataset.toy.language import FORMS, phrases, questions
from seglm.dataset.toy.scenes import make_scene

Said = list[tuple[str, bool]]

SCENES = 400
CERTAIN_FORMS = (
    "class",
    "attribute",
    "multi",
    "part",
)  # every wording of these has a filling that fits nothing


def words(text: str) -> set[str]:
    single = text.lower().strip("?.").split()
    return {*single, *(f"{a} {b}" for a, b in pairwise(single)), f"{len(single)} words"}


def auc(train: Said, test: Said) -> float:
    """How often a positive of `test` scores above a negative; ties count half."""
    seen: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    totals = Counter(label for _, label in train)
    for text, label in train:
        seen[label].update(words(text))

    def evidence(text: str) -> float:
        shares = {label: [(seen[label][w] + 1) / (totals[label] + 2) for w in words(text)] for label in seen}
        return sum(math.log(a) - math.log(b) for a, b in zip(shares[True], shares[False], strict=True))

    yes = np.array([evidence(text) for text, label in test if label])
    no = np.array([evidence(text) for text, label in test if not label])
    return float((yes[:, None] > no).mean() + 0.5 * (yes[:, None] == no).mean())


def tolerance(test: Said) -> float:
    """Three standard deviations of the AUC of a reader who guesses, and 0.02 for what is of no use to anyone."""
    yes = sum(label for _, label in test)
    no = len(test) - yes
    return 0.02 + 3 * math.sqrt((yes + no + 1) / (12 * yes * no))


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[Said, Said]]:
    """Form -> (train, test) of wordings in both fillings: (text, whether anything fits)."""
    found: dict[str, tuple[Said, Said]] = defaultdict(lambda: ([], []))
    for seed in range(SCENES):
        scene, rng = make_scene(seed), np.random.default_rng([seed, 5])
        for form, _ in FORMS:
            for _ in range(3):
                pair = form(scene, rng, "train")
                if pair is not None and pair.absent is not None:
                    for name in ("all", form.__name__):
                        found[name][seed % 2].extend([(pair.there.text, True), (pair.absent.text, False)])
    return found


def test_both_fillings_of_a_wording_read_alike(pairs: dict[str, tuple[Said, Said]]) -> None:
    assert len(pairs) > 8
    for name, (train, test) in pairs.items():
        assert abs(auc(train, test) - 0.5) < tolerance(test), name


def test_a_planted_leak_is_found(pairs: dict[str, tuple[Said, Said]]) -> None:
    leaky = [[(text if label else f"{text} here", label) for text, label in part] for part in pairs["all"]]
    assert auc(leaky[0], leaky[1]) > 0.9


def test_phrases_and_yes_or_no_questions_do_not_tell_their_answer() -> None:
    found: dict[str, tuple[Said, Said]] = defaultdict(lambda: ([], []))
    for seed in range(SCENES // 2):
        scene, half = make_scene(seed, split="val"), seed % 2
        for phrase in phrases(scene, np.random.default_rng(seed), split="val"):
            if phrase.form in CERTAIN_FORMS:
                found[phrase.form][half].append((phrase.text, phrase.kind != "none"))
        for question in questions(scene, np.random.default_rng(seed), split="val"):
            if question.kind == "exist":
                found["exist"][half].append((question.text, question.answer == "Yes."))
    assert set(found) == {*CERTAIN_FORMS, "exist"}
    for name, (train, test) in found.items():
        assert abs(auc(train, test) - 0.5) < tolerance(test), name
