"""The second stage: masks frame by frame, whatever was said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seglm.evaluation.asking.ask import ask, asker
from seglm.model import draw as stage
from seglm.model.decoders.sam2_memory import PREDICTING, Memory
from seglm.model.draw import Asked, draw
from seglm.utils.answers import Drawn, Spoken
from seglm.utils.types import Sample, Target
from tests.model.test_sam2_in_recipe import with_sam2
from tests.tiny import SQUARE, tiny_model
from tests.tiny_sam2 import SAM2, SIDE

SIZE = (40, 50)


def frame(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), np.uint8)


def target(text: str) -> Target:
    return Target((text,), lambda frames: np.zeros((len(frames), *SIZE), np.bool_))


VIDEO = Sample("video|val/1", SIZE, frame, num_frames=6, targets=(target("the ring"), target("the star")))


def asked(number: int, *prompts: torch.Tensor | None) -> Asked:
    pixels = torch.from_numpy(frame(number)).permute(2, 0, 1)
    spoken = Spoken("", (), "ok", ("[SEG]",) * len(prompts), prompts)
    return Asked(pixels, (SQUARE * 4 // 5, SQUARE), SIZE, (spoken,))


def prompts(count: int) -> list[torch.Tensor]:
    width = tiny_model().decoder.prompt_dim
    return list(torch.randn(count, 1, width, generator=torch.Generator().manual_seed(0)))


def test_a_video_is_answered_as_each_of_its_frames_alone() -> None:
    model = tiny_model()
    whole = list(asker(model, protocol="forced", max_new_tokens=1)([VIDEO]))
    assert [(one.sample, one.frame, len(one.answers)) for one in whole] == [(0, n, 2) for n in range(6)]
    for number, drawn in enumerate(whole):
        picture = replace(VIDEO, num_frames=1, frame=lambda _, number=number: frame(number))
        [alone] = asker(model, protocol="forced", max_new_tokens=1)([picture])
        for ours, theirs in zip(drawn.answers, alone.answers, strict=True):
            # Several frames go through the LLM at once, which rounds otherwise.
            assert torch.allclose(ours.masks[0], theirs.masks[0], atol=1e-5)
            assert torch.equal(ours.masks[0] > 0, theirs.masks[0] > 0)
            assert ours.scores == pytest.approx(theirs.scores, abs=1e-5)


def test_pictures_and_videos_can_be_asked_together() -> None:
    picture = replace(VIDEO, num_frames=1)
    drawn = asker(tiny_model(), protocol="forced", max_new_tokens=1)([picture, VIDEO])
    assert [(one.sample, one.frame) for one in drawn] == [(0, 0), *((1, n) for n in range(6))]


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_how_many_are_drawn_at_once_changes_no_mask(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (a, b, c) = tiny_model(), prompts(3)
    wanted = [asked(0, a), asked(1), asked(2, None, b), asked(3, a, b, c), asked(4, c)]
    together = list(draw(model, wanted))
    monkeypatch.setattr(stage, "JOBS_AT_ONCE", jobs)
    monkeypatch.setattr(stage, "FRAMES_AT_ONCE", jobs)
    for (ours,), (theirs,) in zip(together, draw(model, wanted), strict=True):
        assert [mask is None for mask in ours.masks] == [mask is None for mask in theirs.masks]
        for one, other in zip(ours.masks, theirs.masks, strict=True):
            if one is not None and other is not None:
                torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert together[1][0].masks == () and together[2][0].masks[0] is None
    assert together[2][0].scores[0] == 0 and together[2][0].scores[1] != 0


def test_a_frame_in_which_nothing_is_drawn_is_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    model, [prompt] = tiny_model(), prompts(1)
    encode, counts = model.decoder.encode, list[int]()

    def counted(frames: Sequence[torch.Tensor], resized: Sequence[tuple[int, int]]) -> torch.Tensor:
        counts.append(len(frames))
        return encode(frames, resized)

    monkeypatch.setattr(model.decoder, "encode", counted)
    assert len(list(draw(model, [asked(0), asked(1, None)]))) == 2 and counts == []
    assert len(list(draw(model, [asked(0), asked(1, prompt), asked(2, None)]))) == 3 and counts == [1]


def test_frames_are_taken_a_few_at_a_time() -> None:
    model, [prompt], taken = tiny_model(), prompts(1), list[int]()

    def frames() -> Iterator[Asked]:
        for number in range(100):
            taken.append(number)
            yield asked(number, prompt)

    drawn = draw(model, frames())
    assert not taken
    next(drawn)
    assert len(taken) == stage.FRAMES_AT_ONCE


def test_a_typed_question_about_a_video_is_answered_in_every_frame() -> None:
    drawn: list[Drawn] = list(ask(tiny_model(), VIDEO, "Segment the ring.", max_new_tokens=2))
    assert [one.frame for one in drawn] == list(range(6))
    assert all(len(one.answers) == 1 for one in drawn)


@pytest.mark.parametrize("occlusion", [True, False])
def test_what_the_decoder_says_of_being_there_reaches_the_answer(occlusion: bool) -> None:
    """Where the policy asks for it; a slot that the model rejects is not there either."""
    policy = replace(PREDICTING, occlusion=occlusion)
    recipe = with_sam2()
    model = tiny_model(
        replace(recipe, decoder=replace(recipe.decoder, memory=policy)), decoder=asdict(SAM2)
    ).eval()
    head = model.decoder.mask_decoder.pred_obj_score_head.proj_out
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-2.0)
    said = list(torch.randn(2, 1, SAM2.prompt_dim, generator=torch.Generator().manual_seed(0)))
    frames = [
        replace(asked(number, said[0], None, said[1]), resized=(SIDE, SIDE), frame=number)
        for number in range(3)
    ]
    frames.insert(1, replace(asked(3), resized=(SIDE, SIDE), frame=3))
    found = [answer for [answer] in draw(model, frames)]
    assert [answer.there for answer in found] == (
        [(-2.0, -math.inf, -2.0), (), *[(-2.0, -math.inf, -2.0)] * 2] if occlusion else [()] * 4
    )
    assert (
        all(mask is None or not (mask > 0).any() for answer in found for mask in answer.masks)
        or not occlusion
    )


def test_a_walk_that_turns_stays_turned_and_remembers_what_it_draws_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = with_sam2()
    recipe = replace(recipe, decoder=replace(recipe.decoder, memory=PREDICTING))
    model = tiny_model(recipe, decoder=asdict(SAM2)).eval()
    follow, seen = model.decoder.follow, []

    def spied(features: torch.Tensor, said: torch.Tensor | None, memory: Memory, *, frame: int) -> object:
        seen.append((frame, memory.backwards, [entry.frame for entry in memory.recent]))
        return follow(features, said, memory, frame=frame)

    monkeypatch.setattr(model.decoder, "follow", spied)
    said = torch.randn(1, SAM2.prompt_dim, generator=torch.Generator().manual_seed(0))
    order = (2, 3, 4, 1, 0, 5)
    frames = [
        replace(asked(n, said), resized=(SIDE, SIDE), frame=n, is_said=place == 0)
        for place, n in enumerate(order)
    ]
    list(draw(model, frames))
    assert seen == [
        (2, False, []), (3, False, []), (4, False, [3]), (1, True, []), (0, True, [1]), (5, False, []),
    ]  # fmt: skip
