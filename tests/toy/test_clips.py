"""The toy world's clips: true masks, and every answer right and the only one."""

from collections.abc import Iterator

import numpy as np
import pytest

from seglm.dataset.toy.clips import FRAMES, Clip, cast_of, draw_frames, is_in_view, make_clip, seen
from seglm.dataset.toy.families import ANCHOR, BY_NAME, FAMILIES
from seglm.dataset.toy.moving_language import Expression, expressions, fill
from seglm.dataset.toy.moving_words import EVENTS, inflect
from seglm.dataset.toy.scenes import COLOURS, SIZES, Split
from seglm.dataset.toy.shapes import SHAPES, inside_shape
from seglm.dataset.toy.words import Phrase, is_held_out, plural_of
from tests.toy.test_language import text_only_accuracy
from tests.toy.watcher import rank_meant, rank_seen, role_meant, role_seen

NAMES = [family.name for family in FAMILIES]
CLIPS = 8  # of each family


def clips(
    family: str, *, split: Split = "train", count: int = CLIPS, size: int = 128
) -> Iterator[tuple[Clip, int]]:
    for seed in range(count):
        yield make_clip(seed, split=split, family=family, size=size), seed


def said(family: str, *, split: Split = "train", count: int = CLIPS) -> list[tuple[Clip, Expression]]:
    found = []
    for clip, seed in clips(family, split=split, count=count):
        found += [(clip, one) for one in expressions(clip, np.random.default_rng(seed), split=split)]
    return found


@pytest.mark.parametrize("family", NAMES)
def test_what_a_thing_does_is_seen_in_its_track(family: str) -> None:
    for clip, _ in clips(family, count=3 * CLIPS):
        judge = rank_seen if BY_NAME[family].is_ranked else role_seen
        assert [judge(clip, i) for i in cast_of(clip)] == [clip.roles[i] for i in cast_of(clip)]


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_phrase_means_those_and_only_those_that_do_what_it_says(family: str, split: Split) -> None:
    """The words are read, and the tracks are watched, without a look at how the phrase was made."""
    checked = 0
    for clip, one in said(family, split=split):
        if one.family == "looks" or one.pair.there.form == "reasoning":
            continue
        for phrase in (one.pair.there, one.pair.absent):
            assert phrase is not None
            assert fitting(clip, phrase) == phrase.targets, phrase.text
            checked += 1
    assert checked > 20


def fitting(clip: Clip, phrase: Phrase) -> tuple[int, ...]:
    """The things that the words fit."""
    members = [i for i in cast_of(clip) if looks_fit(clip, i, phrase.text)]
    if BY_NAME[clip.family].is_ranked:
        happens = any(verb in phrase.text for verb in EVENTS[clip.family])
        return tuple(i for i in members if happens and rank_seen(clip, i) == rank_meant(phrase.text))
    role = role_meant(clip.family, phrase.text.split(" that ")[-1].split(" which ")[-1])
    return tuple(i for i in members if role_seen(clip, i) == role)


def looks_fit(clip: Clip, thing: int, text: str) -> bool:
    """Whether the noun, what stands before "that" or "to", is true of the thing."""
    noun = text.split(" that ")[0].split(" which ")[0].split(" to ")[0].split()
    one = clip.things[thing]
    shapes = {name: shape for shape in SHAPES for name in (shape, plural_of(shape))}
    return all(
        (word not in COLOURS or word == one.colour) and (word not in shapes or shapes[word] == one.shape)
        for word in noun
    )


def test_a_likeness_and_its_plain_words_belong_to_one_role() -> None:
    for family in FAMILIES:
        for name, role in family.roles.items():
            assert {role_meant(family.name, inflect(verb)) for verb in role.verbs} == {name}
            assert {role_meant(family.name, inflect(verb, plural=True)) for verb in role.verbs} == {name}
            assert not set(role.verbs) & set(role.likenesses) and len(role.likenesses) == 3
    likenesses = [text for family in FAMILIES for role in family.roles.values() for text in role.likenesses]
    assert len(set(likenesses)) == len(likenesses)


@pytest.mark.parametrize("family", NAMES)
def test_likenesses_name_neither_looks_nor_what_is_seen_to_happen(family: str) -> None:
    names = {*COLOURS, *SHAPES, *SIZES}
    for role in BY_NAME[family].roles.values():
        for text in role.likenesses:
            assert not names & set(inflect(text).split()), text


@pytest.mark.parametrize("family", NAMES)
def test_masks_are_what_is_seen(family: str) -> None:
    clip = make_clip(11, split="val", family=family)
    for scene, picture in zip(clip.scenes, draw_frames(clip), strict=True):
        assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8
        rows, columns = np.mgrid[0:128, 0:128].astype(np.float32) + 0.5
        owner = np.full((128, 128), -1)
        for number, thing in enumerate(scene.things):
            turned = np.exp(-1j * thing.angle) * ((columns - thing.x) + 1j * (rows - thing.y)) / thing.radius
            owner[inside_shape(thing.shape, turned.real, turned.imag)] = number
        masks = seen(scene)
        for number, thing in enumerate(scene.things):
            assert (masks[number] != (owner == number)).sum() <= 4  # float32 on the very edge
            assert is_in_view(thing, scene) or not masks[number].any()
            inner = masks[number] & (np.hypot(columns - thing.x, rows - thing.y) < 0.5 * thing.radius)
            if thing.material == "plain" and inner.sum() > 40:
                assert np.abs(picture[inner].mean(0) - COLOURS[thing.colour]).mean() < 45


def test_a_clip_is_a_function_of_its_seed_and_split() -> None:
    for family in NAMES:
        assert make_clip(5, family=family) == make_clip(5, family=family)
        first, again = (list(draw_frames(make_clip(5, family=family))) for _ in range(2))
        assert all((a == b).all() for a, b in zip(first, again, strict=True))
        assert make_clip(5, family=family) != make_clip(5, family=family, split="val")
        assert make_clip(5, family=family) != make_clip(6, family=family)


def test_a_larger_picture_has_the_same_layout() -> None:
    small, large = make_clip(3, family="passing"), make_clip(3, family="passing", size=256)
    for before, after in zip(small.scenes, large.scenes, strict=True):
        assert after.width == 256
        for a, b in zip(before.things, after.things, strict=True):
            assert (2 * a.x, 2 * a.y, 2 * a.radius) == pytest.approx((b.x, b.y, b.radius))


def test_every_family_is_drawn_and_clips_are_short() -> None:
    drawn = [make_clip(seed) for seed in range(250)]
    assert {clip.family for clip in drawn} == set(NAMES)
    assert {len(clip.scenes) for clip in drawn} == set(range(FRAMES[0], FRAMES[1] + 1))
    assert {len(clip.things) for clip in drawn} == {3, 4, 5}


def test_training_shows_no_held_out_look_and_says_no_held_out_words() -> None:
    hidden = {role.verbs[-1] for f in FAMILIES for role in f.roles.values()}
    hidden |= {role.likenesses[-1] for f in FAMILIES for role in f.roles.values()}
    forms = {inflect(verb, plural=several).replace("{a}", "") for verb in hidden for several in (True, False)}
    found: dict[Split, int] = {"train": 0, "test": 0}
    for split in found:
        for family in NAMES:
            for clip, one in said(family, split=split, count=4):
                assert split != "train" or not any(map(is_held_out, clip.things))
                found[split] += any(form.strip() and one.pair.there.text.endswith(form) for form in forms)
    assert found["train"] == 0 and found["test"] > 20


@pytest.mark.parametrize("family", NAMES)
def test_no_text_stands_in_two_expressions_and_none_means_everything(family: str) -> None:
    for clip, seed in clips(family):
        found = expressions(clip, np.random.default_rng(seed), split="train")
        texts = [p.text for one in found for p in (one.pair.there, one.pair.absent) if p is not None]
        twice = {text for text in texts if texts.count(text) > 1}
        assert not twice
        for one in found:
            assert 0 < len(one.pair.there.targets) < len(clip.things)
            assert len(one.candidates) > 1 and set(one.pair.there.targets) <= set(one.candidates)
            assert one.pair.absent is not None and one.pair.absent.targets == ()
            assert ANCHOR not in [clip.roles[i] for i in one.pair.there.targets] or one.family == "looks"


def test_the_words_do_not_tell_whether_anything_fits_them() -> None:
    labelled = []
    for seed in range(260):
        clip, rng = make_clip(seed), np.random.default_rng(seed)
        for one in expressions(clip, rng, split="train"):
            phrase = fill(one.pair, rng, none_odds=0.5)
            labelled.append((phrase.text, phrase.kind == "none"))
    # 3.5 k texts, but those about one clip hang together: three standard errors of 87 clips in the last third are 0.05
    assert text_only_accuracy(labelled) == pytest.approx(0.5, abs=0.05)


def test_explanations_say_what_is_done() -> None:
    found = [one.pair.there for _, one in said("rhythm") if one.pair.there.kind == "reasoning"]
    assert any(phrase.explanation and "because" in phrase.explanation for phrase in found)
    assert any(phrase.is_sentence for phrase in found) and any(not phrase.is_sentence for phrase in found)
