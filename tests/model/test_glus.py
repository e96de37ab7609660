"""GLUS: which frames it is shown and draws, what is said about them, and what of it is taught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import clip
from seglm.model.backbones.projected import pooled, tokens_of
from seglm.model.recipes import recipe as named
from seglm.model.systems.glus import (
    CONTEXT_TASK,
    QUESTIONS,
    a_question_a_frame,
    context_and_queries,
    frame_by_frame,
)
from seglm.model.terms import Language
from seglm.utils.types import Images, Slot
from tests.model.test_draw import VIDEO
from tests.tiny import tiny_encoder, tiny_example, tiny_model, tiny_recipe


def test_a_picture_is_shown_once_and_asked_about_without_a_context() -> None:
    frames = context_and_queries(1, np.random.default_rng(0))
    assert frames.seen == frames.drawn == (0,)
    picture = clip(replace(VIDEO, targets=VIDEO.targets[:1]), frames=frames)
    [dialogue] = a_question_a_frame(picture, np.random.default_rng(2), named("glus_s"))
    [turn] = dialogue.turns
    assert turn.question[0] == Images((0,)) and not any(CONTEXT_TASK in str(piece) for piece in turn.question)
    assert [window.seen for window in frame_by_frame(1)] == [(0,)]


@pytest.mark.parametrize("num_frames", [2, 3, 4, 5, 9, 40])
def test_a_frame_of_each_part_is_shown_and_four_in_a_row_are_drawn(num_frames: int) -> None:
    edges = np.linspace(0, num_frames, 5, dtype=int)
    starts = set()
    for seed in range(60):
        frames = context_and_queries(num_frames, np.random.default_rng(seed))
        context, queries = frames.seen[:4], frames.seen[4:]
        assert queries == frames.drawn and len(queries) == min(4, num_frames)
        assert queries == tuple(range(queries[0], queries[0] + len(queries))) and queries[-1] < num_frames
        for frame, left, right in zip(context, edges, edges[1:], strict=False):
            assert left <= frame < max(right, left + 1) or frame == num_frames - 1
        starts.add(queries[0])
    assert starts == set(range(max(1, num_frames - 3))) or num_frames == 40


def test_a_dialogue_asks_for_each_query_frame_in_a_turn_of_its_own() -> None:
    video = replace(VIDEO, targets=tuple(replace(target, texts=("The Ring.",)) for target in VIDEO.targets))
    frames = context_and_queries(6, np.random.default_rng(1))
    script = a_question_a_frame(clip(video, frames=frames), np.random.default_rng(2), named("glus_s"))
    assert [dialogue.targets for dialogue in script] == [(0,), (1,)]
    for number, dialogue in enumerate(script):
        assert len(dialogue.turns) == 4
        first = dialogue.turns[0].question
        assert first[0] == Images((0, 1, 2, 3)) and "on the context frames above" in str(first[1])
        for query, turn in enumerate(dialogue.turns):
            image, asked = turn.question[-2:]
            assert image == Images((4 + query,))
            assert asked in {text.format("the ring") for text in QUESTIONS}
            assert [piece for piece in turn.answer if isinstance(piece, Slot)] == [
                Slot("[SEG]", number, (query,))
            ]
    branch = tiny_encoder().encode(script[0])
    assert sorted(set(branch.frame[branch.frame >= 0].tolist())) == list(range(8)) and len(branch.slots) == 4


@pytest.mark.parametrize(
    ("pool", "want"),
    [("none", list(range(16))), ("1x4", [1.5, 5.5, 9.5, 13.5]), ("2x2", [2.5, 4.5, 10.5, 12.5])],
)
def test_four_patches_make_a_token(pool: str, want: list[float]) -> None:
    patches = torch.arange(16.0).view(1, 16, 1)  # four rows of four
    assert pooled(patches, pool)[0, :, 0].tolist() == want  # type: ignore[arg-type]
    assert tokens_of(16, pool) == len(want)  # type: ignore[arg-type]


def test_a_frame_that_is_no_whole_number_of_pools_is_refused() -> None:
    with pytest.raises(ValueError, match=r"backbone\.pool=2x2: a frame of 5 x 5 patches"):
        tokens_of(25, "2x2")


def test_only_the_slots_own_tokens_are_taught() -> None:
    model = tiny_model(replace(tiny_recipe(), terms=(Language(1.0, slots_only=True),)))
    batch = collate([tiny_example(("It is {}.", "Sure, {}."), key="a"), tiny_example(("A ring.",), key="b")])
    term = model.terms["language"]
    assert term.count(batch) == 2
    with torch.no_grad():
        states = model.backbone.hidden(batch).flatten(0, 1)
        slots = model.backbone.head(states[batch.slot_at - 1])
        wanted = cross_entropy(slots, torch.full((2,), model.encoder.token_id("[SEG]")), reduction="sum")
        output = model(batch)
    torch.testing.assert_close(output.parts["language"].sum, wanted)
    words = model(collate([tiny_example(("A ring.",), key="b")])).parts["language"]
    assert words.count == 0 and words.sum == 0
