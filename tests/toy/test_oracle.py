"""No single frame tells the answers of the kinds `motion` and `order`."""

import numpy as np
import pytest

from seglm.dataset.toy.families import BY_NAME, FAMILIES, HIDDEN_KINDS
from tests.toy.oracle import Score, questions, score

CLIPS = 160
HIDDEN = [family.name for family in FAMILIES if family.kind in HIDDEN_KINDS]


def asked(family: str) -> Score:
    return score(questions(family, clips=CLIPS))


@pytest.mark.parametrize("family", HIDDEN)
def test_an_oracle_that_sees_one_frame_and_knows_all_looks_stays_at_chance(family: str) -> None:
    got = asked(family)
    assert 0.2 < got.chance < 0.36
    assert got.rule == pytest.approx(got.chance, abs=3 * got.error)
    assert got.fitted == pytest.approx(got.chance, abs=3 * got.error)


@pytest.mark.parametrize("family", ["growing", "passing", "leaving"])
def test_the_oracle_is_able_enough_to_find_what_a_frame_does_show(family: str) -> None:
    got = asked(family)
    assert BY_NAME[family].kind not in HIDDEN_KINDS
    assert min(got.rule, got.fitted) > got.chance + 3 * got.error


def test_an_oracle_that_sees_a_leak_finds_it() -> None:
    """The same questions, with the answer's place moved by half a radius in the last frame."""
    leaking = questions("across", clips=CLIPS)
    for question in leaking:
        question.features[-1][question.answer, 0] += 2.0
    got = score(leaking)
    assert got.rule > got.chance + 3 * got.error
    assert np.isfinite(got.fitted)
