"""What the tiny LLaVA is taught of clips: laid out as VideoLISA does it, and aimed at the right thing in the right frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seglm.bases import (
    clip_cache,
    clip_lessons,
    clip_showing,
    motion_lessons,
    scene_cache,
    tiny_llava,
    vocabulary,
)
from seglm.bases.clip_cache import DrawnClip, drawn_clip
from seglm.bases.clip_lessons import questions_about
from seglm.bases.clip_showing import PATCHES, VISUAL_TOKENS, Showing, showing
from seglm.bases.packing import Packed, Packer
from seglm.dataset.toy import motion
from seglm.dataset.toy.asking import NOWHERE, spoken_spot
from seglm.dataset.toy.clips import make_clip, seen
from seglm.dataset.toy.watching import DEEDS, WATCH, Watched, deed_of
from seglm.model.backbones.tokenizer import load_tokenizer
from seglm.model.systems.videolisa import POOLED, WHOLE, sparse_and_dense, videolisa_tiny
from seglm.utils.types import Dialogue, Turn

LLAVA = Path(scene_cache.__file__).resolve().parent / "llava"


@pytest.fixture(scope="module")
def packer() -> Packer:
    tokenizer = load_tokenizer(LLAVA, tokens=(), image_tokens=vocabulary.IMAGE_TOKENS)
    return Packer(tokenizer, patches=VISUAL_TOKENS, of_clips=True)


@pytest.fixture(scope="module")
def base(packer: Packer) -> tiny_llava.TinyLlava:
    torch.manual_seed(0)
    return tiny_llava.TinyLlava(packer.word_ids)


@pytest.fixture(scope="module")
def drawn() -> DrawnClip:
    return drawn_clip(make_clip(3, family="across"))


def packed(packer: Packer, shown: Showing, number: int = 1) -> tuple[list[Watched], Packed]:
    asked = questions_about(shown, np.random.default_rng(number))
    return asked, packer.pack([asked])


def test_a_clip_is_laid_out_as_the_recipe_lays_it_out(packer: Packer, drawn: DrawnClip) -> None:
    from seglm.model.backbones.encode import DialogueEncoder
    from seglm.model.backbones.templates import template

    recipe = videolisa_tiny()
    tokenizer = load_tokenizer(LLAVA, tokens=(), image_tokens=vocabulary.IMAGE_TOKENS)
    encoder = DialogueEncoder(
        tokenizer=tokenizer,
        template=template(recipe.backbone.template),
        patches=PATCHES,
        image_tokens=recipe.backbone.image_tokens,
        tokens=(),
        max_length=512,
    )
    shown = showing(drawn)
    question = next(q for q in packed(packer, shown)[0] if q.kind == WATCH)
    turn = Turn((*sparse_and_dense(len(drawn.pictures)), f"\n{question.text}"), (question.answer,))
    branch = encoder.encode(Dialogue((turn,), targets=(0,)))
    _, own, asked = packer.encode(question)
    want = [*packer.prefix, *own]
    visual = range(packer.image_start, packer.image_start + VISUAL_TOKENS)
    assert [n for i, n in enumerate(branch.ids) if i not in visual] == [
        n for i, n in enumerate(want) if i not in visual
    ]
    frames = [*shown.pooled, *(frame for frame in shown.whole for _ in range(PATCHES))]
    assert branch.frame[packer.image_start : packer.image_start + VISUAL_TOKENS].tolist() == frames
    assert int((branch.labels >= 0).sum()) == len(own) - asked


def test_frames_drawn_at_random_are_in_order_and_all_frames_of_a_short_clip_are_pooled(
    drawn: DrawnClip,
) -> None:
    shown = [showing(drawn, np.random.default_rng(seed)) for seed in range(30)]
    wholes = {one.whole for one in shown}
    assert len(wholes) > 5 and all(list(whole) == sorted(set(whole)) for whole in wholes)
    assert all(
        len(one.pooled) == POOLED and set(one.pooled) == set(range(len(drawn.pictures))) for one in shown
    )


def test_the_features_of_a_clip_are_means_of_frames_then_patches(
    base: tiny_llava.TinyLlava, drawn: DrawnClip
) -> None:
    shown = showing(drawn)
    features = clip_showing.clip_features(base.llava, [shown, shown])
    alone = tiny_llava.vision_features(base.llava, drawn.pictures)
    want = torch.cat([alone.mean(1)[list(shown.pooled)], alone[list(shown.whole)].flatten(0, 1)])
    assert features.shape == (2, VISUAL_TOKENS, tiny_llava.VISION_WIDTH)
    torch.testing.assert_close(features[1], want, atol=1e-5, rtol=1e-4)


def test_a_stored_chunk_is_what_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_cache, "CHUNK", 2)
    for _ in range(2):  # made, then read
        one = clip_cache.ClipCache(split="val", cache=tmp_path, chunks=1).pick(1, 1)[0]
        own = drawn_clip(make_clip(clip_cache.FIRST_SEED + 1, split="val"))
        assert np.array_equal(one.pictures, own.pictures) and one.spots == own.spots
        np.testing.assert_allclose(one.filled, own.filled, atol=1e-3)


def test_spots_are_where_the_masks_are(drawn: DrawnClip) -> None:
    for frame, scene in enumerate(drawn.clip.scenes):
        for mask, spot in zip(seen(scene), drawn.spots[frame], strict=True):
            assert spot == (spoken_spot(mask) if mask.any() else NOWHERE)


def test_each_cell_of_an_answer_is_looked_for_in_its_frame(
    packer: Packer, base: tiny_llava.TinyLlava, drawn: DrawnClip
) -> None:
    shown = showing(drawn)
    asked, row = packed(packer, shown)
    aims = dict(clip_lessons._answer_aims(base.words, [shown], packer, row))
    checked = 0
    for question, start, end in row.spans:
        if question.kind != WATCH or len(question.targets) != 1 or NOWHERE in question.answer:
            continue
        words = [word.strip("\u2581") for word in packer.words(row.answers[start:end])]
        for frame, spot in zip((0, WHOLE - 1), shown.spots()[question.targets[0]], strict=True):
            at = words.index(spot) if frame == 0 else len(words) - 1 - words[::-1].index(spot)
            place = (0, int(row.predicts[start + at, 1]))
            np.testing.assert_array_equal(
                aims[place], shown.by_frame[frame][:, list(question.targets)].sum(1)
            )
            checked += 1
    assert checked and asked


def test_a_patch_is_followed_to_its_thing_some_frames_before(packer: Packer, drawn: DrawnClip) -> None:
    shown = showing(drawn)
    _, row = packed(packer, shown)
    for back in motion_lessons.BACK:
        aims = motion_lessons._track_aims([shown], row, back)
        assert aims
        for (line, place), share in aims:
            token = place - row.image_start
            thing = int(shown.filled[token].argmax())
            number = (token - POOLED) // PATCHES
            assert line == 0 and number >= back
            np.testing.assert_array_equal(share, shown.by_frame[number - back][:, thing])


def test_a_deed_is_learnt_at_the_last_word_for_it(packer: Packer, drawn: DrawnClip) -> None:
    shown = showing(drawn)
    _, row = packed(packer, shown)
    found = motion_lessons.deeds_told(packer, row)
    assert found
    for question, line, place in found:
        last = question.text[: question.told_until].split(" ")[-1]
        word = packer.words(row.ids[line, place : place + 1])[0].strip("\u2581")
        assert last.endswith(word) and word
        if question.targets:
            assert question.deed == deed_of(shown.drawn.clip, question.targets[0])


def test_moves_are_told_from_frame_to_frame(drawn: DrawnClip) -> None:
    shown = showing(drawn)
    right = next((i for i, role in enumerate(drawn.clip.roles) if role == "right"), None)
    left = next((i for i, role in enumerate(drawn.clip.roles) if role == "left"), None)
    for thing, sign in ((right, 1), (left, -1)):
        if thing is not None:
            for number in range(1, WHOLE):
                told = dict(zip(tiny_llava.MOVES, motion_lessons._moves(shown, number, thing), strict=True))
                is_around = abs(told["x change"]) == motion_lessons.MOST  # over one edge and in at the other
                assert is_around or told["x change"] == pytest.approx(4 * (told["x"] - told["x before"]))
                assert is_around or sign * told["x change"] > motion_lessons.CLEAR
                assert told["y change"] == 0 and told["swell"] == 0
    assert right is not None or left is not None


def test_growth_is_told_from_frame_to_frame() -> None:
    shown = showing(drawn_clip(make_clip(1, family="growing")))
    signs = {"grows": (1, 1, 1), "shrinks": (-1, -1, -1)}
    checked = 0
    for thing, role in enumerate(shown.drawn.clip.roles):
        told = [motion_lessons._moves(shown, number, thing)[-1] for number in range(1, WHOLE)]
        if role in signs:
            assert all(
                sign * swell > motion_lessons.CLEAR for sign, swell in zip(signs[role], told, strict=True)
            )
        elif role.endswith("back"):
            assert told[0] * told[-1] < 0
        checked += role in signs
    assert checked


def test_a_square_that_turns_either_way_may_look_the_same_in_the_whole_frames() -> None:
    """So turning is not taught."""
    shown = showing(drawn_clip(make_clip(0, family="turning")))
    gap = (shown.whole[1] - shown.whole[0]) / (len(shown.drawn.pictures) - 1)
    slow, fast = (gap * turn for turn in motion.TURN)
    assert slow < np.pi / 2 - slow < fast  # one way as far as the other, up to a quarter


def test_the_words_for_a_deed_look_at_what_does_it(packer: Packer, drawn: DrawnClip) -> None:
    shown = showing(drawn)
    _, row = packed(packer, shown)
    aims = dict(clip_lessons._deed_aims([shown], packer, row))
    told = [entry for entry in motion_lessons.deeds_told(packer, row) if entry[0].targets]
    assert told and len(aims) == len({(line, place) for _, line, place in told})
    for question, line, place in told:
        things, share = set(question.targets), aims[line, place]
        aimed = np.flatnonzero(share)
        assert len(aimed) and {int(shown.filled[token].argmax()) for token in aimed} & things
        if shown.by_frame[-1][:, list(things)].any():
            assert aimed.min() >= POOLED + (WHOLE - 1) * PATCHES


@torch.no_grad()
def test_a_deed_is_told_from_those_of_its_family_alone(
    packer: Packer, base: tiny_llava.TinyLlava, drawn: DrawnClip
) -> None:
    shown = showing(drawn)
    row = packer.pack([clip_lessons.meanings(np.random.default_rng(0))])
    states = [torch.randn(*row.ids.shape, 128, generator=torch.Generator().manual_seed(0))]

    def seen_loss(deed: str) -> float:
        """While the head prefers that deed to any other."""
        kept = base.deeds.bias.clone()
        base.deeds.bias[list(DEEDS).index(deed)] += 50.0
        without_words = replace(row, spans=())
        loss, _ = motion_lessons._deed_loss(base, [shown], packer, without_words, states)
        base.deeds.bias.copy_(kept)
        return float(loss)

    plain = seen_loss("stops")
    assert plain == seen_loss("grows") and DEEDS["stops"][0] != drawn.clip.family
    assert seen_loss("right") != plain


def test_the_lessons_reach_every_part_that_is_taught(
    packer: Packer, base: tiny_llava.TinyLlava, drawn: DrawnClip
) -> None:
    base.zero_grad()
    shown = showing(drawn)
    _, row = packed(packer, shown)
    loss, values = clip_lessons.watch_loss(base, [shown], packer, row, attention_weight=1.0)
    loss.backward()
    assert torch.isfinite(loss) and {"watch", "track", "moved", "deed_seen", "deed_told"} <= set(values)
    tower = base.llava.model.vision_tower.embeddings.patch_embedding
    for part in (base.deeds, base.moves, base.course, tower):
        assert part.weight.grad is not None and part.weight.grad.abs().sum() > 0


def test_motion_alone_is_learnt_by_the_first_layers_and_needs_no_tower(
    packer: Packer, base: tiny_llava.TinyLlava, drawn: DrawnClip
) -> None:
    base.zero_grad()
    shown = showing(drawn)
    row = packer.pack([clip_lessons.meanings(np.random.default_rng(0))])
    loss, _ = motion_lessons.motion_loss(base, [shown], packer, row, attention_weight=1.0)
    loss.backward()
    layers = base.llava.model.language_model.layers
    reached = [layer.self_attn.q_proj.weight.grad is not None for layer in layers]
    assert reached == [True] * motion_lessons.DEPTH + [False] * (len(layers) - motion_lessons.DEPTH)
    assert base.llava.model.vision_tower.embeddings.patch_embedding.weight.grad is None


@torch.no_grad()
def test_attention_that_looks_at_the_thing_in_the_frame_before_is_right(
    packer: Packer, drawn: DrawnClip
) -> None:
    shown = showing(drawn)
    _, row = packed(packer, shown)
    tracks = motion_lessons.tracks_of([shown], row)
    ends = row.image_start + VISUAL_TOKENS
    heads = len(motion_lessons.BACK) + motion_lessons.TAUGHT_HEADS

    def loss(aim: int) -> float:
        """Of heads that look `aim` visual tokens beside where they should."""
        seen = torch.full((sum(len(places) for places, _ in tracks), heads, ends), -9.0)
        shares = torch.cat([shares for _, shares in tracks])
        seen[:, :, row.image_start :] += 18.0 * (shares > 0)[:, None].roll(aim, -1)
        return float(motion_lessons.track_loss(tracks, [seen], row))

    assert loss(0) < loss(3) and loss(0) < loss(PATCHES)
