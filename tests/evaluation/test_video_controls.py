"""Controls of a score on videos, on a video that can be checked by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.asking.controls import all_objects, elsewhere, random_object, wrong_picture
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.things import objects_of
from seglm.evaluation.asking.video_controls import frozen, largest_at_first, moves_most
from seglm.evaluation.scores.first_mask import mask_of
from seglm.utils.answers import Drawn
from seglm.utils.types import Sample, Target

SIZE = (2, 6)
VIDEO = {  # thing -> its frames
    "grows": (("#.....", "......"), ("##....", "......"), ("####..", "####..")),
    "large": ((".##...", ".##..."), ("......", "......"), ("....#.", "......")),
    "goes": (("......", "#....."), ("......", "....#."), ("......", ".....#")),
}


def rows(lines: Sequence[str]) -> np.ndarray:
    return np.array([[cell == "#" for cell in line] for line in lines])


def objects(_: Sample, frame: int) -> np.ndarray:
    return np.stack([rows(frames[frame]) for frames in VIDEO.values()])


def target(*names: str, known: tuple[int, ...] | None = None) -> Target:
    def masks(frames: Sequence[int]) -> np.ndarray:
        if known is not None and set(frames) - set(known):
            raise ValueError("is not published")
        shown = [[rows(VIDEO[name][frame]) for name in names] for frame in frames]
        return np.array([np.any(one, axis=0) if one else np.zeros(SIZE, bool) for one in shown])

    return Target(("that",), masks, objects=names, known_frames=known)


def video(*targets: Target, key: str = "toy|val/1", frames: int = 3, first: int = 0) -> Sample:
    names = tuple(f"{number:05d}" for number in range(frames))
    return Sample(
        key,
        SIZE,
        lambda frame: np.full((*SIZE, 3), first + frame, np.uint8),
        num_frames=frames,
        targets=targets,
        frame_names=names,
    )


class Videos:
    name, family = "toy|val", "ref_vos"

    def __init__(self, *samples: Sample) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def keys(self) -> Iterator[str]:
        return (sample.key for sample in self.samples)

    def sample(self, index: int) -> Sample:
        return self.samples[index]


def masks(asker: Asker, sample: Sample) -> list[list[tuple[str, ...]]]:
    """Frame by frame, for each target."""
    drawn = list(asker([sample]))
    assert [one.frame for one in drawn] == list(range(sample.num_frames))
    found = [[mask_of(answer, sample.size) for answer in one.answers] for one in drawn]
    return [[tuple("".join(".#"[int(x)] for x in row) for row in mask) for mask in one] for one in found]


def test_what_is_chosen_once_is_kept_in_all_frames() -> None:
    sample = video(target("goes"), target("grows", "large"))
    for asker, name in ((largest_at_first(objects), "large"), (moves_most(objects), "goes")):
        assert masks(asker, sample) == [[frame] * 2 for frame in VIDEO[name]]
    [chosen] = {
        name
        for name in VIDEO
        if [frame[0] for frame in masks(random_object(objects), sample)] == list(VIDEO[name])
    }
    assert chosen


def test_the_largest_at_first_is_that_of_the_first_frame_with_anything() -> None:
    def late(sample: Sample, frame: int) -> np.ndarray:
        return objects(sample, frame) & (frame > 1)

    assert masks(largest_at_first(late), video(target("goes")))[2] == [VIDEO["grows"][2]]


def test_where_nothing_is_known_nothing_is_drawn() -> None:
    empty = np.zeros((0, *SIZE), dtype=bool)
    for control in (all_objects, largest_at_first, moves_most, random_object):
        assert masks(control(lambda sample, frame: empty), video(target("goes"))) == [[("......",) * 2]] * 3


def test_a_jump_out_of_sight_is_no_way_that_is_seen(tmp_path: Path) -> None:
    """`large` is away in the second frame and elsewhere in the third: its way is not known."""
    two = {name: VIDEO[name] for name in ("large", "grows")}

    def fewer(_: Sample, frame: int) -> np.ndarray:
        return np.stack([rows(frames[frame]) for frames in two.values()])

    assert masks(moves_most(fewer), video(target("grows"))) == [[frame] for frame in VIDEO["grows"]]


def test_things_are_told_apart_by_their_names(tmp_path: Path) -> None:
    sample = video(
        target("goes"), target("goes", "large"), target("grows", known=(0, 2)), target("goes"), target()
    )
    source = Selection(Videos(sample, sample), texts="all")
    apart = objects_of(source, tmp_path)
    assert (apart(sample, 0) == np.stack([rows(VIDEO[name][0]) for name in ("goes", "grows")])).all()
    assert (apart(sample, 1)[0] == rows(VIDEO["goes"][1])).all()
    assert not apart(sample, 1)[1].any(), "no mask of it is published there"


def test_the_wrong_video_moves_too_and_is_gone_through_from_beginning_to_end() -> None:
    asked: list[Sample] = []

    def spy(samples: Sequence[Sample]) -> Iterator[Drawn]:
        asked.extend(samples)
        return iter(())

    own, other = video(target("goes"), key="toy|val/1"), video(key="toy|val/2", frames=6, first=100)
    wrong_picture(spy, Selection(Videos(own, other), texts="all"))([own])
    [wrong] = asked
    assert (wrong.key, wrong.targets, wrong.num_frames) == (own.key, own.targets, 3)
    assert [int(wrong.frame(number)[0, 0, 0]) for number in (2, 0, 1)] == [104, 100, 102]
    with pytest.raises(ValueError, match="has 1 sample; the wrong picture needs two"):
        elsewhere(Selection(Videos(own), texts="all"))


def test_a_frozen_video_does_not_move() -> None:
    still = frozen(video(target("goes")))
    assert still.num_frames == 3 and {int(still.frame(number)[0, 0, 0]) for number in range(3)} == {1}
