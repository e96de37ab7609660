"""Masks of a few frames are carried through a whole video, both ways, with the memory of a few frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from seglm.model.decoders import sam2_propagate
from seglm.model.decoders.sam2 import Prompts, Sam2Decoder
from seglm.model.decoders.sam2_memory import PREDICTING, Memory
from seglm.model.decoders.sam2_propagate import BySam2, carry, encode_whole
from seglm.model.decoders.sam2_step import step
from seglm.model.propagate import Direction, Propagator
from tests.tiny_sam2 import features_of, tiny_sam2, vectors

HEIGHT, WIDTH, FRAMES = 30, 50, 11


@dataclass(frozen=True)
class Video:
    """Frames that are made when they are taken, and which were."""

    length: int = FRAMES
    taken: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> NDArray[np.uint8]:
        self.taken.append(place)
        return np.random.default_rng(place).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def masks(*boxes: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """(top, left, bottom, right) of each object -> bool [N, HEIGHT, WIDTH]."""
    found = np.zeros((len(boxes), HEIGHT, WIDTH), np.bool_)
    for one, (top, left, bottom, right) in zip(found, boxes, strict=True):
        one[top:bottom, left:right] = True
    return found


def typed(decoder: Sam2Decoder) -> Propagator:
    return BySam2(decoder)


TWO = masks((5, 5, 20, 25), (10, 20, 28, 45))


@pytest.mark.parametrize(
    ("anchors", "directions", "want"),
    [
        ((4,), ("forwards", "backwards"), [*range(4, 11), *range(3, -1, -1)]),
        ((4,), ("forwards",), list(range(4, 11))),
        ((4,), ("backwards",), list(range(4, -1, -1))),
        ((2, 7), ("backwards",), list(range(7, -1, -1))),
        ((0, 5, 10), ("forwards", "backwards"), list(range(11))),
    ],
)
def test_every_frame_that_is_reached_is_drawn_once_and_taken_once(
    anchors: tuple[int, ...], directions: tuple[Direction, ...], want: list[int]
) -> None:
    video, propagate = Video(), typed(tiny_sam2())
    found = list(propagate(video, dict.fromkeys(anchors, TWO), directions=directions))
    assert [one.frame for one in found] == want
    assert sorted(video.taken) == sorted(want)
    assert all(one.masks.shape == TWO.shape and one.masks.dtype == np.bool_ for one in found)
    assert all(np.array_equal(one.masks, TWO) for one in found if one.frame in anchors)


def test_a_walk_is_its_steps_with_all_anchors_remembered_before_it_begins() -> None:
    decoder = tiny_sam2()
    features, said, later = features_of(decoder, 6), vectors(2), vectors(2, seed=7)
    memory = Memory(num_frames=6)
    with torch.no_grad():
        _, memory = step(decoder, features[1:2], memory, frame=1, prompts=said)
        _, memory = step(decoder, features[5:6], memory, frame=5, prompts=later)
        there, back = memory, memory.turned()
        want = {}
        for frame in (2, 3, 4):
            want[frame], there = step(decoder, features[frame : frame + 1], there, frame=frame)
        want[0], back = step(decoder, features[:1], back, frame=0)
    found = dict(carry(decoder, lambda numbers: features[list(numbers)], {1: said, 5: later}, num_frames=6))
    assert set(found) == set(range(6))
    for frame, one in want.items():
        torch.testing.assert_close(found[frame].logits, one.logits)
    only_first = dict(carry(decoder, lambda numbers: features[list(numbers)], {1: said}, num_frames=6))
    assert not torch.allclose(only_first[2].logits, found[2].logits)


def test_backwards_is_forwards_through_the_video_turned_round() -> None:
    decoder, said = tiny_sam2(), vectors(2)
    features = features_of(decoder, 9)
    turned = features.flip(0)

    def drawn(source: Tensor, anchor: int, way: Direction) -> dict[int, Tensor]:
        walk = carry(
            decoder, lambda numbers: source[list(numbers)], {anchor: said}, num_frames=9, directions=(way,)
        )
        return {frame: found.logits for frame, found in walk}

    back, there = drawn(features, 8, "backwards"), drawn(turned, 0, "forwards")
    assert set(back) == set(there) == set(range(9))
    for frame, logits in back.items():
        torch.testing.assert_close(logits, there[8 - frame])


def test_more_objects_than_one_call_takes_are_drawn_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, said = tiny_sam2(), vectors(5)
    features = features_of(decoder, 4)

    def drawn() -> dict[int, Tensor]:
        walk = carry(decoder, lambda numbers: features[list(numbers)], {0: said}, num_frames=4)
        return {frame: found.logits for frame, found in walk}

    whole = drawn()
    monkeypatch.setattr(sam2_propagate, "OBJECTS_AT_ONCE", 2)
    for frame, logits in drawn().items():
        torch.testing.assert_close(logits, whole[frame], atol=1e-4, rtol=1e-4)


def test_no_object_gives_no_mask_and_no_frame_is_lost() -> None:
    found = list(BySam2(tiny_sam2())(Video(), {3: masks()}))
    assert {one.frame for one in found} == set(range(FRAMES))
    assert all(one.masks.shape == (0, HEIGHT, WIDTH) for one in found)


def test_a_frame_says_of_every_object_whether_it_is_there() -> None:
    decoder = tiny_sam2()
    for sign in (1, -1):  # a decoder that sees every object, and one that sees none
        with torch.no_grad():
            decoder.mask_decoder.pred_obj_score_head.proj_out.weight.zero_()
            decoder.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(3.0 * sign)
        first, *others = BySam2(decoder)(Video(), {0: np.concatenate([TWO, masks((0, 0, 0, 0))])})
        assert first.there == (10.0, 10.0, -10.0)  # what was given is there where it has a pixel
        assert all(one.there == (3.0 * sign,) * 3 for one in others)
        assert all(not one.masks.any() for one in others if sign < 0)


@pytest.mark.parametrize("anchors", [{}, {FRAMES: TWO}, {-1: TWO}, {0: TWO, 3: TWO[:1]}])
def test_anchors_that_are_none_of_the_video_s_are_refused(anchors: dict[int, NDArray[np.bool_]]) -> None:
    with pytest.raises(ValueError, match=r"masks by frame|no frame with masks|masks are given"):
        next(BySam2(tiny_sam2())(Video(), anchors))


def test_a_picture_fills_the_square_whatever_its_sides() -> None:
    decoder = tiny_sam2()
    seen: list[Tensor] = []
    decoder.image_encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    encode_whole(decoder, [np.full((20, 90, 3), 200, np.uint8)])
    wanted = (200 - decoder.pixel_mean) / decoder.pixel_std
    torch.testing.assert_close(seen[0][0], wanted.expand_as(seen[0][0]))


def kept(decoder: Sam2Decoder, num_frames: int) -> int:
    """Numbers that are alive behind so many frames, all walked from the first."""
    sizes: list[int] = []

    def features(numbers: Sequence[int]) -> Tensor:
        return torch.zeros(len(numbers), *decoder.blank(torch.device("cpu")).shape[1:])

    def watched(*arguments: object, **named: object) -> object:
        drawn, memory = step(*arguments, **named)  # type: ignore[arg-type]
        entries = [*memory.conditioning, *memory.recent]
        sizes.append(
            sum(
                one.pointer.numel() + (one.features.numel() if one.features is not None else 0)
                for one in entries
            )
        )
        return drawn, memory

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sam2_propagate, "step", watched)
        walk = carry(
            decoder,
            features,
            {0: Prompts(torch.ones(1, 1, 16))},
            num_frames=num_frames,
            policy=replace(PREDICTING),
        )
        for _ in walk:
            pass
    return sizes[-1]


def test_a_long_video_is_remembered_no_more_than_a_short_one() -> None:
    decoder = tiny_sam2()
    assert kept(decoder, 40) == kept(decoder, 300)
