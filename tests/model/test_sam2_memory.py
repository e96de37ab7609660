"""Which frames a frame of a video looks back on, what is kept, and that it is no more after a million frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seglm.model.decoders.sam2_memory import PREDICTING, TRAINING, Entry, Memory, MemoryPolicy


def entry(frame: int) -> Entry:
    """Its tensors hold the number of the frame."""
    return Entry(frame, torch.full((1, 1, 1, 1), float(frame)), torch.full((1, 1), float(frame)))


def walked(
    policy: MemoryPolicy, anchors: tuple[int, ...], frames: range, *, num_frames: int | None = None
) -> Memory:
    """A memory behind `frames`, which are walked in their order."""
    memory = Memory(policy, num_frames=num_frames, backwards=frames.step < 0)
    for anchor in anchors:
        memory = memory.write(entry(anchor), conditioning=True)
    for frame in frames:
        memory = memory.write(entry(frame), conditioning=False)
    return memory


def memories(memory: Memory, frame: int) -> list[tuple[int, int]]:
    """(frame that is read, how many frames ago; 0 for a conditioning one)."""
    return [(int(features), ago) for features, ago in memory.read(frame).memories]


def pointers(memory: Memory, frame: int) -> list[tuple[int, int]]:
    return [(int(pointer), distance) for pointer, distance in memory.read(frame).pointers]


@pytest.mark.parametrize(
    ("stride", "frame", "want"),
    [
        # sam2_base.py:544-561 at 2b90b9f, by hand: the last frame, then ((t - 2) // r) r - k r
        (1, 10, [(0, 0), (4, 6), (5, 5), (6, 4), (7, 3), (8, 2), (9, 1)]),
        (1, 3, [(0, 0), (1, 2), (2, 1)]),
        (3, 10, [(0, 0), (3, 3), (6, 2), (9, 1)]),
        (3, 20, [(0, 0), (6, 6), (9, 5), (12, 4), (15, 3), (18, 2), (19, 1)]),
        (3, 21, [(0, 0), (6, 6), (9, 5), (12, 4), (15, 3), (18, 2), (20, 1)]),
    ],
)
def test_the_last_frames_are_read_beside_the_conditioning_one(
    stride: int, frame: int, want: list[tuple[int, int]]
) -> None:
    memory = walked(replace(PREDICTING, stride=stride), (0,), range(1, frame))
    assert memories(memory, frame) == want


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_backwards_is_forwards_in_a_mirror(stride: int) -> None:
    policy = replace(PREDICTING, stride=stride)
    there = walked(policy, (0,), range(1, 30))
    back = walked(policy, (0,), range(-1, -30, -1))
    assert memories(back, -30) == [(-frame, ago) for frame, ago in memories(there, 30)]
    assert pointers(back, -30) == [(-frame, distance) for frame, distance in pointers(there, 30)]


def test_a_policy_of_seven_frames_without_positions_or_pointers_is_what_glus_reads() -> None:
    policy = MemoryPolicy(frames=7, stride=3, temporal=False, pointers=0)
    memory = walked(policy, (), range(40))
    assert [frame for frame, _ in memories(memory, 40)] == [21, 24, 27, 30, 33, 36, 39]
    assert not memory.read(40).pointers


def test_pointers_tell_their_distance_and_only_the_past_is_asked_in_prediction() -> None:
    memory = walked(PREDICTING, (0, 12, 50), range(1, 20))
    seen = pointers(memory, 20)
    assert seen[:2] == [(0, 20), (12, 8)]
    assert seen[2:] == [(20 - distance, distance) for distance in range(1, 16)]
    ahead = walked(TRAINING, (0, 12, 50), range(1, 20))
    assert pointers(ahead, 20)[:3] == [(0, 20), (12, 8), (50, -30)]


@pytest.mark.parametrize(
    ("num_frames", "span", "count"), [(None, 15, 1 + 15), (100, 15, 1 + 15), (5, 4, 1 + 4)]
)
def test_a_short_video_measures_pointers_by_its_own_length(
    num_frames: int | None, span: int, count: int
) -> None:
    reading = walked(PREDICTING, (0,), range(1, 40), num_frames=num_frames).read(40)
    assert (reading.span, len(reading.pointers)) == (span, count)


def test_of_many_conditioning_frames_the_nearest_are_read_and_the_others_count_as_drawn_ones() -> None:
    policy = replace(PREDICTING, conditioning=3)
    memory = walked(policy, (0, 8, 9, 30, 60), range(1, 8))
    # the nearest before, the nearest behind, then the nearest of all others
    assert [frame for frame, ago in memories(memory, 10) if ago == 0] == [9, 30, 8]
    memory = walked(replace(policy, conditioning=1), (0, 8, 9), range(1, 8))
    assert memories(memory, 10)[-1] == (8, 2) and memories(memory, 10)[0] == (9, 0)
    # a pointer of a conditioning frame that was not chosen is found at its own distance
    assert (8, 2) in pointers(memory, 10)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_nothing_that_is_read_was_dropped_and_a_memory_does_not_grow(stride: int, sign: int) -> None:
    policy = replace(PREDICTING, stride=stride)
    memory, every = (walked(policy, (0,), range(0)) for _ in range(2))
    memory, every = (replace(one, backwards=sign < 0) for one in (memory, every))
    sizes = []
    for number in range(1, 200):
        frame = sign * number
        assert memories(memory, frame) == memories(every, frame)
        assert pointers(memory, frame) == pointers(every, frame)
        memory = memory.write(entry(frame), conditioning=False)
        every = replace(every, recent=(*every.recent, entry(frame)))
        sizes.append(sum(one.features is not None for one in memory.recent))
    assert len(memory.recent) <= max(16, policy.frames * stride)
    assert sizes[-1] <= policy.frames + 1 and set(sizes[30:]) <= {policy.frames, policy.frames + 1}


def test_a_memory_that_was_written_to_is_another_value() -> None:
    before = walked(PREDICTING, (0,), range(1, 4))
    held = before.recent
    after = before.write(entry(4), conditioning=False)
    assert before.recent is held and len(before.recent) == 3 and len(after.recent) == 4
    turned = after.turned()
    assert turned.backwards and not turned.recent and turned.conditioning == after.conditioning
