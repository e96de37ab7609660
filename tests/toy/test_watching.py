"""Questions about clips: true, answered by what the clip holds, and with the held-out wordings kept from training."""

import numpy as np
import pytest

from seglm.dataset.toy.asking import NOWHERE
from seglm.dataset.toy.clips import make_clip
from seglm.dataset.toy.families import BY_NAME, FAMILIES
from seglm.dataset.toy.moving_words import inflect
from seglm.dataset.toy.watching import (
    DEEDS,
    DOES,
    MEANS,
    WATCH,
    Watched,
    clip_questions,
    deed_in_words,
    deed_of,
)
from seglm.dataset.toy.words import describe, is_held_out


def asked(seed: int, family: str | None = None, split: str = "train") -> tuple[object, list[Watched]]:
    clip = make_clip(seed, split=split, family=family)  # type: ignore[arg-type]
    spots = [(f"a{i + 1}", f"b{i + 1}") for i in range(len(clip.things))]
    return clip, clip_questions(clip, spots, np.random.default_rng(seed), split=split, draw=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_every_target_is_named_with_its_two_cells_and_its_deed_is_what_the_words_say(family: str) -> None:
    seen = set()
    for seed in range(20):
        clip, questions = asked(seed, family)
        for question in questions:
            seen.add(question.kind)
            if question.kind != WATCH:
                continue
            parts = question.answer.split(" is ")[1].rstrip(".").split(" and ")
            names = {
                f"the {describe(clip.things[i], ('colour', 'shape')).say()}, a{i + 1} to b{i + 1}"
                for i in question.targets
            }  # type: ignore[attr-defined]
            assert set(parts) == (names or {NOWHERE})
            if question.deed:
                assert {deed_of(clip, i) for i in question.targets} == {question.deed}  # type: ignore[arg-type]
                assert (
                    question.text[question.told_until :].lstrip("?").startswith((" ", ""))
                    and question.targets
                )
    assert {WATCH, MEANS, DOES} <= seen


def test_the_words_for_a_deed_end_where_the_question_says() -> None:
    for seed in range(60):
        clip, questions = asked(seed)
        for question in questions:
            if question.deed and not BY_NAME[DEEDS[question.deed][0]].is_ranked:
                role = BY_NAME[DEEDS[question.deed][0]].roles[DEEDS[question.deed][1]]
                ends = {
                    inflect(v, plural=several).split("{a}")[-1]
                    for v in (*role.verbs, *role.likenesses)
                    for several in (False, True)
                }
                assert question.text[: question.told_until].endswith(tuple(ends)), question
    del clip


def test_what_one_does_is_said_in_words_that_no_other_deed_has() -> None:
    said = [deed_in_words(name, "red circle") for name in DEEDS]
    assert len(set(said)) == len(DEEDS) == 52


def test_training_asks_for_no_look_that_is_held_out_and_knows_every_wording_only_without_a_picture() -> None:
    last = {inflect(role.likenesses[-1]) for family in FAMILIES for role in family.roles.values()}
    last = {verb for verb in last if "{a}" not in verb}
    shown, known = set(), set()
    for seed in range(150):
        clip, questions = asked(seed)
        assert not any(is_held_out(thing) for thing in clip.things)  # type: ignore[attr-defined]
        for question in questions:
            held_out = {verb for verb in last if verb in question.text}
            (known if question.kind == MEANS else shown).update(held_out)
    assert known and not shown
