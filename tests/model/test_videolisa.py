"""Which frames VideoLISA sees and draws in, and what it says about a still and about a video."""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import clip, example
from seglm.model.recipes import recipe as named
from seglm.model.scripts import shown
from seglm.model.systems.videolisa import clip_of_video, middles, sparse_and_dense, stretched
from seglm.utils.types import Clip, Dialogue, Frames, Images, Sample, Slot, Target, Turn
from tests.tiny import SQUARE, VISION, tiny_encoder, tiny_model, tiny_recipe

SIZE = (40, 50)


# ---- frames at inference: the numbers are those of uniform_sample, get_sparse_indices and get_dense_indices ---------
@pytest.mark.parametrize(
    "total, first, last",
    [
        (32, (0, 1, 2), (30, 31)),
        (33, (0, 1, 2), (30, 31)),  # the last frame is never looked at
        (100, (1, 4, 7, 10, 13, 16, 19, 22, 26, 29), (94, 97)),
        (5, (0, 1, 2), (3, 4)),
    ],
)
def test_a_video_is_seen_at_the_middles_of_equal_parts(
    total: int, first: tuple[int, ...], last: tuple[int, ...]
) -> None:
    seen = clip_of_video(total)
    assert seen[: len(first)] == first and seen[-len(last) :] == last and len(seen) == min(total, 32)


def test_a_short_clip_is_stretched_to_all_places() -> None:
    assert Counter(stretched(5, 32)) == {0: 7, 1: 6, 2: 6, 3: 7, 4: 6}
    assert stretched(32, 32) == list(range(32)) and stretched(1, 4) == [0, 0, 0, 0]


@pytest.mark.parametrize("places, want", [(32, (3, 10, 18, 26)), (50, (5, 17, 29, 42))])
def test_the_whole_frames_stand_in_the_middles_of_four_parts(places: int, want: tuple[int, ...]) -> None:
    assert middles(places - 1, 4) == want


def test_a_dialogue_begins_with_the_pooled_frames_and_then_the_whole_ones() -> None:
    assert sparse_and_dense(32) == (Images(tuple(range(32)), "pooled"), Images((3, 10, 18, 26), "full"))
    assert sparse_and_dense(1) == (Images((0,) * 32, "pooled"), Images((0,) * 4, "full"))


def test_one_window_sees_a_clip_and_draws_every_frame() -> None:
    recipe = named("videolisa_3_8b")
    for total in (1, 5, 100):
        [window] = recipe.walk(total)
        assert window.seen == clip_of_video(total) and window.asked == tuple(range(total))
        assert recipe.shows(len(window.seen)) == sparse_and_dense(min(total, 32))


# ---- frames in training ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("total", [1, 2, 3, 5, 31, 32, 33, 40, 100, 300])
def test_a_training_clip_is_in_order_without_repeats_and_draws_in_four_of_its_frames(total: int) -> None:
    recipe = named("videolisa_3_8b")
    for seed in range(50):
        frames = recipe.frames(total, np.random.default_rng(seed))
        assert list(frames.seen) == sorted(set(frames.seen)) and len(frames.seen) == min(total, 32)
        assert list(frames.drawn) == sorted(set(frames.drawn)) and len(frames.drawn) == min(total, 4)
        assert set(frames.drawn) <= set(frames.seen) <= set(range(total))
    assert recipe.frames(total, np.random.default_rng(3)) == recipe.frames(total, np.random.default_rng(3))


def test_a_long_video_is_drawn_from_all_over() -> None:
    recipe = named("videolisa_3_8b")
    drawn = Counter(
        frame for seed in range(400) for frame in recipe.frames(100, np.random.default_rng(seed)).seen
    )
    assert set(drawn) == set(range(100))
    assert {frame for frame, _ in drawn.most_common(4)} == {0, 32, 64, 96}  # the middles of clips


# ---- what is said ---------------------------------------------------------------------------------------------------
def a_clip(num_frames: int, *, is_sentence: bool = False, key: str = "mevis|train/1") -> Clip:
    """A video whose frames drawn are the first, third, fifth and last but one of all."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (num_frames, *SIZE, 3), np.uint8)
    target = Target(
        texts=("The Ring that Stops",),
        masks=lambda frames: np.ones((len(frames), *SIZE), np.bool_),
        is_sentence=is_sentence,
    )
    sample = Sample(key=key, size=SIZE, frame=lambda n: pictures[n], num_frames=num_frames, targets=(target,))
    drawn = tuple(sorted({min(frame, num_frames - 1) for frame in (0, 2, 4, num_frames - 2)} - {-1}))
    return clip(sample, frames=Frames(tuple(range(num_frames)), drawn))


@pytest.mark.parametrize(
    "num_frames, whole, drawn",
    [(9, (0, 2, 4, 7), (0, 1, 2, 3)), (1, (0, 0, 0, 0), (0, 0, 0, 0)), (3, (0, 1, 1, 2), (0, 1, 1, 2))],
)
def test_one_slot_draws_in_the_frames_that_are_shown_whole(
    num_frames: int, whole: tuple[int, ...], drawn: tuple[int, ...]
) -> None:
    recipe = named("videolisa_3_8b")
    [dialogue] = recipe.script(a_clip(num_frames), np.random.default_rng(0), recipe)
    pooled, dense, _question = dialogue.turns[0].question
    [slot] = [piece for piece in dialogue.turns[0].answer if isinstance(piece, Slot)]
    assert pooled == Images(tuple(stretched(num_frames, 32)), "pooled") and dense == Images(whole)
    assert (slot.frames, slot.target) == (drawn, 0)


def test_a_still_is_encoded_once_and_counts_like_a_clip() -> None:
    recipe = named("videolisa_3_8b")
    still = a_clip(1)
    script = recipe.script(still, np.random.default_rng(0), recipe)
    encoder = copy(tiny_encoder())
    encoder.image_tokens = None
    branches = encoder.encode_script(script, key=still.key)
    made = example(still, branches, script, vision_size=VISION, decoder_size=SQUARE, pixels="fast")
    batch = collate([made])
    assert len(batch.vision) == len(batch.drawn) == len(batch.jobs) == 1
    assert (batch.masks_counted, batch.job_times.tolist()) == (4, [4.0])
    patches = (VISION // 14) ** 2
    assert batch.image_patch.tolist() == [patches] * 32 + [*range(patches)] * 4
    model = tiny_model(tiny_recipe("videolisa_tiny"))
    drawn_four_times = replace(
        batch,
        job_slot=batch.job_slot.repeat(4),
        job_frame=batch.job_frame.repeat(4),
        jobs=batch.jobs * 4,
        job_times=torch.ones(4),
        masks=tuple(masks.repeat(4, 1, 1) for masks in batch.masks),
    )
    once, often = model(batch), model(drawn_four_times)
    assert {name: part.count for name, part in once.parts.items()}["dice"] == 4
    for name, part in often.parts.items():
        assert once.parts[name].count == part.count
        assert once.parts[name].sum.item() == pytest.approx(part.sum.item(), rel=1e-5)


@pytest.mark.parametrize(
    "key, num_frames, is_sentence, asked, given",
    [
        (
            "mevis|valid_u/a",
            9,
            False,
            "\nPlease segment the the ring that stops in this image.",
            "Sure, [SEG].",
        ),
        ("revos|valid/a", 9, True, "\n The Ring that Stops Please output segmentation mask.", "Sure, [SEG]."),
        (
            "reasonvos|test/a",
            9,
            False,
            "\nPlease segment the the ring that stops in this scene.",
            "Sure, [SEG].",
        ),
        (
            "reasonvos|test/a",
            9,
            True,
            "\nThe Ring that Stops. Please output the segmentation masks.",
            "Sure, [SEG].",
        ),
        (
            "ReasonSeg|val/a",
            1,
            False,
            "\n What is The Ring that Stops in this video? Please output segmentation mask.",
            "[SEG].",
        ),
    ],
)
def test_the_released_evaluation_gives_the_answer(
    key: str, num_frames: int, is_sentence: bool, asked: str, given: str
) -> None:
    recipe = named("videolisa_3_8b")
    assert recipe.forced is not None
    shown = replace(a_clip(num_frames, is_sentence=is_sentence), key=key)
    [dialogue] = recipe.forced(shown, recipe)
    *images, question = dialogue.turns[0].question
    assert question == asked and tuple(images) == sparse_and_dense(num_frames)
    said = [piece.token if isinstance(piece, Slot) else piece for piece in dialogue.turns[0].answer]
    assert "".join(map(str, said)) == given


def test_validation_asks_and_leaves_the_answer_open() -> None:
    recipe = named("videolisa_3_8b")
    for seen in (a_clip(9), a_clip(1)):
        [dialogue] = recipe.prompt(seen, recipe)
        assert dialogue.turns[0].answer == () and dialogue.targets == (0,)
        assert dialogue.turns[0].question[:2] == sparse_and_dense(len(seen.seen))


def test_a_dialogue_is_as_long_as_if_it_showed_one_image() -> None:
    """`--model_max_length 2048` of run_train.sh is less than what a clip shows."""
    encoder = copy(tiny_encoder())
    encoder.image_tokens = None
    still, clip_of_32 = (
        Dialogue((Turn((*images, "\nWhat is it?"), ("A ring.",)),))
        for images in (shown("")[:1], sparse_and_dense(32))
    )
    encoder.max_length = len(encoder.encode(still).ids)
    branch = encoder.encode(clip_of_32)
    assert encoder.length(branch) == encoder.max_length < len(branch.ids)
    encoder.max_length -= 20
    with pytest.raises(
        ValueError,
        match=rf"{encoder.max_length + 20} tokens, cut to backbone.max_length={encoder.max_length}",
    ):
        encoder.encode(clip_of_32)


def test_a_conversation_in_words_is_held_about_the_clip_too() -> None:
    recipe = named("videolisa_3_8b")
    words = replace(a_clip(1), targets=(), masks=(), turns=(("What is it?", "A ring."), ("Red?", "Yes.")))
    [dialogue] = recipe.script(words, np.random.default_rng(0), recipe)
    assert dialogue.turns[0].question == (*sparse_and_dense(1), "\nWhat is it?")
    assert dialogue.turns[1].question == ("Red?",)


def test_the_mixture_is_run_trains() -> None:
    recipe = named("videolisa_3_8b")
    assert recipe.data.shares() == {
        "sem_seg": 8, "refer_seg": 4, "reason_seg": 3, "vos": 4, "refer_seg_video": 6, "davis": 1,
    }  # fmt: skip
    schedule = recipe.schedule
    assert schedule.epochs * schedule.steps_per_epoch == 6000
    assert schedule.batch_size * schedule.grad_accumulation_steps * schedule.world_size == 128
