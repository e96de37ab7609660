"""The toy world's language: what it says is true, what is held out stays out, and no text gives its answer away."""

import math
import re
from collections import Counter

import numpy as np
import pytest

from seglm.dataset.toy.asking import COLUMNS, count_questions, exist_questions, spoken_box
from seglm.dataset.toy.clips import make_clip
from seglm.dataset.toy.facts import FACTS
from seglm.dataset.toy.language import FORMS, Phrase, phrases, questions
from seglm.dataset.toy.scenes import COLOURS, MATERIALS, SIZES, Scene, Split, Thing, make_scene, visible_masks
from seglm.dataset.toy.shapes import SHAPES
from seglm.dataset.toy.watching import clip_questions
from seglm.dataset.toy.words import is_held_out, pick

KINDS = {"class", "attribute", "position", "relation", "superlative", "reasoning", "multi", "none", "part"}
WORDS = {"colour": tuple(COLOURS), "shape": SHAPES, "size": SIZES, "material": MATERIALS}


def thing(shape: str, colour: str, x: float, y: float, *, size: str = "medium", radius: float = 16) -> Thing:
    return Thing(shape, colour, size, "plain", x, y, radius, 0.0)


def said(split: Split, *, scenes: int) -> list[tuple[Scene, Phrase]]:
    made = [make_scene(seed, split=split) for seed in range(scenes)]
    return [(s, p) for i, s in enumerate(made) for p in phrases(s, np.random.default_rng(i), split=split)]


@pytest.fixture(scope="module")
def train() -> list[tuple[Scene, Phrase]]:
    return said("train", scenes=150)


def test_every_kind_is_said_and_only_none_has_no_target(train: list[tuple[Scene, Phrase]]) -> None:
    assert {phrase.kind for _, phrase in train} == KINDS
    for scene, phrase in train:
        assert (phrase.targets == ()) == (phrase.kind == "none")
        assert all(0 <= i < len(scene.things) for i in phrase.targets)


def test_attribute_phrases_fit_their_target_and_no_other_thing(train: list[tuple[Scene, Phrase]]) -> None:
    for scene, phrase in train:
        if phrase.form != "attribute":
            continue
        spoken = {name: [w for w in phrase.text.split() if w in values] for name, values in WORDS.items()}
        fit = [
            i
            for i, t in enumerate(scene.things)
            if all(w == getattr(t, n) for n, ws in spoken.items() for w in ws)
        ]
        assert tuple(fit) == phrase.targets


def test_a_hand_made_scene_is_described_rightly() -> None:
    scene = Scene(
        0,
        128,
        128,
        (
            thing("ring", "red", 30, 64),
            thing("square", "blue", 64, 64),
            thing("square", "red", 100, 64, radius=26),
        ),
    )
    want = {
        "ring": (0,),
        "squares": (1, 2),
        "red ring": (0,),
        "leftmost square": (1,),
        "rightmost thing": (2,),
        "largest square": (2,),
        "ring left of the blue square": (0,),
        "thing between the ring and the red square": (1,),
        "red ring and the blue square": (0, 1),
        "thing that looks like a doughnut": (0,),
        "square left of the ring": (),
        "green thing": (),
    }
    found: dict[str, tuple[int, ...]] = {}
    for seed in range(250):
        for phrase in phrases(scene, np.random.default_rng(seed), split="test" if seed % 2 else "train"):
            assert found.setdefault(phrase.text, phrase.targets) == phrase.targets
    assert {text: found[text] for text in want if text in found} == {
        text: want[text] for text in want if text in found
    }
    assert len(found.keys() & want.keys()) >= 5  # the others are rarer


def test_training_never_asks_for_a_held_out_look_fact_or_wording(train: list[tuple[Scene, Phrase]]) -> None:
    hidden = [fact.verb for fact in FACTS if fact.held_out]
    assert hidden
    for scene, phrase in train:
        assert not any(verb in phrase.text for verb in hidden)
        if phrase.kind != "class":
            assert not any(is_held_out(scene.things[i]) for i in phrase.targets)
    templates = ("one", "two", "held out")
    assert {pick(templates, np.random.default_rng(i), split="train") for i in range(50)} == {"one", "two"}
    assert {pick(templates, np.random.default_rng(i), split="test") for i in range(50)} == set(templates)


def test_held_out_looks_and_facts_are_asked_in_the_test_split() -> None:
    tested = said("test", scenes=150)
    assert any(is_held_out(s.things[i]) for s, p in tested for i in p.targets)
    assert any(fact.verb in p.text for _, p in tested for fact in FACTS if fact.held_out)


def test_the_words_of_a_phrase_do_not_tell_whether_anything_fits_it() -> None:
    """Naive Bayes on words and word pairs, as good as text alone gets; one filling of every wording, by a coin."""
    labelled = []
    for seed in range(300):
        scene, rng = make_scene(seed), np.random.default_rng(seed)
        filled = [form(scene, rng, "train") for form, tries in FORMS for _ in range(tries)]
        pairs = [(p.there.text, p.absent.text) for p in filled if p is not None and p.absent is not None]
        coins = rng.random(len(pairs)) < 0.5
        labelled += [
            (pair[0] if coin else pair[1], bool(coin)) for pair, coin in zip(pairs, coins, strict=True)
        ]
    assert text_only_accuracy(labelled) == pytest.approx(
        0.5, abs=0.05
    )  # 1.4 k texts: three standard errors are 0.04


def test_the_words_of_a_question_do_not_tell_yes_from_no() -> None:
    asked = []
    for seed in range(600):
        made = exist_questions(make_scene(seed), np.random.default_rng(seed), split="train")
        asked += [(question.text, question.answer == "Yes.") for question in made]
    assert text_only_accuracy(asked) == pytest.approx(0.5, abs=0.07)


def test_the_words_of_a_question_do_not_tell_how_many() -> None:
    asked = []
    for seed in range(1000):
        made = count_questions(make_scene(seed), np.random.default_rng(seed), split="train")
        asked += [
            (q.text, q.answer == "Zero.") for q in made if " things " not in q.text or len(q.text.split()) > 6
        ]
    often = max(np.mean([label for _, label in asked]), np.mean([not label for _, label in asked]))
    assert text_only_accuracy(asked) <= often + 0.06


def test_questions_have_one_answer_each_and_every_kind_is_asked() -> None:
    kinds = set()
    for seed in range(30):
        asked = questions(make_scene(seed), np.random.default_rng(seed), split="train", draw=True)
        assert len({question.text for question in asked}) == len(asked)
        kinds |= {question.kind for question in asked}
    assert kinds == {
        "colour",
        "shape",
        "size",
        "material",
        "where",
        "spot",
        "exist",
        "count",
        "fact",
        "caption",
    }


@pytest.mark.parametrize("draw", [True, False])
def test_only_who_has_no_masks_is_asked_for_one(draw: bool) -> None:
    for about in ("still", "clip"):
        said = [text for seed in range(20) for text in asked_about(about, seed, draw=draw)]
        wanted = [text for text in said if re.search("segment", text)]
        assert len(said) > 100 and (len(wanted) > 10 if draw else not wanted)


def asked_about(about: str, seed: int, *, draw: bool) -> list[str]:
    rng = np.random.default_rng(seed)
    if about == "still":
        return [one.text for one in questions(make_scene(seed), rng, split="train", draw=draw)]
    clip = make_clip(seed, split="train")
    spots = [("a1", "b1")] * len(clip.things)
    return [one.text for one in clip_questions(clip, spots, rng, split="train", draw=draw)]


def test_a_place_is_spoken_as_on_a_chess_board_of_sixteen_cells() -> None:
    mask = np.zeros((128, 128), dtype=bool)
    mask[48:64, 32:56] = True  # rows 6..8, columns 4..7 in cells of 8 px: the centre is at column 5.5, row 7
    assert spoken_box(mask) == "f8, 3 by 2"
    assert len(COLUMNS) == 16


def test_where_answers_name_the_cell_of_the_target() -> None:
    scene = make_scene(5)
    boxes = {spoken_box(mask) for mask in visible_masks(scene)}
    for seed in range(20):
        for question in questions(scene, np.random.default_rng(seed), split="train", draw=True):
            if question.kind == "where" and question.form == "attribute":
                assert any(question.answer in (f"It is {box}.", f"Sure, it is {box}.") for box in boxes)


def text_only_accuracy(labelled: list[tuple[str, bool]]) -> float:
    """Accuracy on the last third of naive Bayes that was fitted to the rest; priors included.

    The order must be that of the scenes: two texts about one scene share words and answers.
    """
    border = 2 * len(labelled) // 3
    counts, totals = {True: Counter[str](), False: Counter[str]()}, Counter[bool]()
    for text, label in labelled[:border]:
        counts[label].update(features(text))
        totals[label] += 1
    right = []
    for text, label in labelled[border:]:
        score = math.log(totals[True] / totals[False])
        for word in features(text):
            share = [(counts[side][word] + 1) / (totals[side] + 2) for side in (True, False)]
            score += math.log(share[0] / share[1])
        right.append((score > 0) == label)
    return float(np.mean(right))


def features(text: str) -> set[str]:
    words = text.lower().replace("?", "").split()
    return {*words, *(" ".join(pair) for pair in zip(words, words[1:], strict=False)), f"{len(words)} words"}
