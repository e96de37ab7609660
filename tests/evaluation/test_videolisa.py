"""A video asked about through VideoLISA's own walk: one answer, drawn in every frame."""

from __future__ import annotations

import pytest
import torch

from seglm.evaluation.asking.ask import ask, asker
from seglm.model.settings import Protocol
from tests.model.test_draw import VIDEO
from tests.tiny import tiny_model, tiny_recipe


@pytest.mark.parametrize("protocol", ["forced", "generate"])
def test_one_answer_is_drawn_in_every_frame(protocol: Protocol) -> None:
    model = tiny_model(tiny_recipe("videolisa_tiny"))
    drawn = list(asker(model, protocol=protocol, max_new_tokens=3)([VIDEO]))
    assert [one.frame for one in drawn] == list(range(VIDEO.num_frames))
    first = drawn[0].answers
    assert all(
        answer.spoken is said.spoken for one in drawn for answer, said in zip(one.answers, first, strict=True)
    )
    if protocol == "forced":
        assert not torch.equal(drawn[0].answers[0].masks[0], drawn[5].answers[0].masks[0])


def test_a_typed_question_sees_the_whole_clip() -> None:
    model = tiny_model(tiny_recipe("videolisa_tiny"))
    drawn = list(ask(model, VIDEO, "Segment what moves.", max_new_tokens=2))
    assert len(drawn) == 6 and len({one.answers[0].spoken.ids for one in drawn}) == 1
