"""A walk frame by frame is asked in lots of a few frames, and what is said and drawn does not depend on how many."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from seglm.evaluation.asking import ask as asking
from seglm.evaluation.asking.ask import ask, asker
from seglm.model.settings import Protocol
from seglm.utils.types import Sample
from tests.model.test_draw import VIDEO, frame
from tests.tiny import tiny_model


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames the LLM was shown in each call."""
    shown: list[int] = []
    speak = asking.speak

    def counted(model: object, asked: object, **settings: object) -> object:
        shown.append(sum(len(clip.seen) for clip, _ in asked))  # type: ignore[attr-defined]
        return speak(model, asked, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(asking, "speak", counted)
    return shown


@pytest.mark.parametrize(("most", "want"), [(1, [1] * 6), (4, [4, 2]), (8, [6])])
@pytest.mark.parametrize("protocol", ["generate", "forced"])
def test_lots_are_bounded_and_change_no_answer(
    protocol: Protocol, most: int, want: list[int], calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    alone = [
        next(
            asker(model, protocol=protocol, max_new_tokens=3)(
                [replace(VIDEO, num_frames=1, frame=lambda _, number=number: frame(number))]  # type: ignore[misc]
            )
        )
        for number in range(VIDEO.num_frames)
    ]
    calls.clear()
    monkeypatch.setattr(asking, "SEEN_AT_ONCE", most)
    drawn = list(asker(model, protocol=protocol, max_new_tokens=3)([VIDEO]))
    assert calls == want and [one.frame for one in drawn] == list(range(VIDEO.num_frames))
    for one, apart in zip(drawn, alone, strict=True):
        for ours, theirs in zip(one.answers, apart.answers, strict=True):
            assert (ours.spoken.text, ours.spoken.ids) == (theirs.spoken.text, theirs.spoken.ids)
            for mask, other in zip(ours.masks, theirs.masks, strict=True):
                assert mask is not None and other is not None
                assert torch.allclose(mask, other, atol=1e-5) and torch.equal(mask > 0, other > 0)


def test_videos_and_pictures_share_lots_as_far_as_there_is_room(
    calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "SEEN_AT_ONCE", 5)
    picture = replace(VIDEO, num_frames=1)
    drawn = asker(tiny_model(), protocol="forced", max_new_tokens=1)([VIDEO, picture, VIDEO])
    assert sorted((one.sample, one.frame) for one in drawn) == sorted(
        [(1, 0), *((video, number) for video in (0, 2) for number in range(6))]
    )
    assert calls == [5, 4, 4]  # first windows of all three and second ones of the videos; then two of each


def test_a_frame_is_decoded_once_to_be_shown_and_drawn() -> None:
    decoded: Counter[int] = Counter()

    def counted(number: int) -> object:
        decoded[number] += 1
        return frame(number)

    video: Sample = replace(VIDEO, frame=counted)
    assert len(list(asker(tiny_model(), protocol="forced", max_new_tokens=1)([video]))) == 6
    assert decoded == Counter(range(6))


def test_a_typed_question_goes_through_in_lots_too(calls: list[int]) -> None:
    drawn = list(ask(tiny_model(), VIDEO, "What is that?", max_new_tokens=2))
    assert calls == [6]
    assert all(one.answers[0].spoken.status in ("ok", "not_asked") for one in drawn) and len(drawn) == 6
