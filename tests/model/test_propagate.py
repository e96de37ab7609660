"""Masks carried through a video by a program that is asked through files."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from seglm.model.propagate import ByProgram, Direction, Propagator, check_anchors, reached

SIZE = (12, 20)
FRAMES = [np.full((*SIZE, 3), number, np.uint8) for number in range(8)]
CARRY = """
# The mask of the nearest anchor, one column to the right for each frame that lies between: what moves so in this video.
import sys
from pathlib import Path
import numpy as np
from PIL import Image

directions, folder = sys.argv[1].split(","), Path(sys.argv[2])
numbers = [int(np.array(Image.open(file))[0, 0, 0]) for file in sorted((folder / "frames").iterdir())]
assert numbers == list(range(len(numbers))), numbers
for home in (folder / "anchors").iterdir():
    anchors = {int(file.stem): np.array(Image.open(file)) for file in home.iterdir()}
    (out := folder / "masks" / home.name).mkdir(parents=True)
    for number in set(numbers) - set(anchors):
        behind = [a for a in anchors if a <= number] if "forwards" in directions else []
        before = [a for a in anchors if a >= number] if "backwards" in directions else []
        if behind or before:
            nearest = min(behind + before, key=lambda a: abs(a - number))
            moved = np.roll(anchors[nearest], number - nearest, axis=1)
            Image.fromarray(moved).save(out / f"{number:05d}.png")
"""


def box(left: int, *, is_there: bool = True) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, np.bool_)
    mask[3:7, left : left + 4] = is_there
    return mask


def program(folder: Path, text: str) -> ByProgram:
    (folder / "my tools").mkdir()
    script = folder / "my tools" / "carry.py"
    script.write_text(text)
    return ByProgram(shlex.join([sys.executable, str(script)]))


# Two things that overlap, and one that is nowhere.
ANCHORS = {
    2: np.stack([box(4), box(6), box(0, is_there=False)]),
    5: np.stack([box(7), box(9), box(0, is_there=False)]),
}


@pytest.mark.parametrize(
    ("directions", "want"),
    [
        (("forwards", "backwards"), range(8)),
        (("forwards",), range(2, 8)),
        (("backwards",), range(6)),
    ],
)
def test_masks_come_back_for_every_frame_that_is_reached(
    tmp_path: Path, directions: tuple[Direction, ...], want: range
) -> None:
    carry: Propagator = program(tmp_path, CARRY)
    found = {one.frame: one.masks for one in carry(FRAMES, ANCHORS, directions=directions)}
    assert list(found) == list(want) == list(reached(8, [5, 2], directions))
    assert all(found[number] is masks for number, masks in ANCHORS.items())
    for number, masks in found.items():
        assert masks.dtype == np.bool_ and masks.shape == (3, *SIZE)
        true = [box(4 + number - 2), box(6 + number - 2), box(0, is_there=False)]
        assert all(np.array_equal(mask, other) for mask, other in zip(masks, true, strict=True))


def test_frames_of_a_video_are_taken_one_by_one(tmp_path: Path) -> None:
    class Once:
        taken: list[int] = []

        def __len__(self) -> int:
            return len(FRAMES)

        def __getitem__(self, place: int) -> NDArray[np.uint8]:
            self.taken.append(place)
            return FRAMES[place]

    carry = program(tmp_path, CARRY)
    first = next(iter(carry(Once(), ANCHORS)))
    assert (
        first.frame == 0
        and first.masks.shape == (3, *SIZE)
        and first.there == ()
        and Once.taken == list(range(8))
    )


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("raise SystemExit('no memory left')", ChildProcessError, "ended with 1.*\n.*no memory left"),
        ("", FileNotFoundError, r"masks/0/00000.png: the program did not write this mask"),
        (CARRY.replace("moved)", "moved[1:])"), ValueError, r"masks/0/00000.png is 11 x 20, .* are 12 x 20"),
        (
            CARRY.replace("moved)", "moved).convert('RGB')"),
            ValueError,
            "is of mode RGB; permitted are 1, L, P",
        ),
    ],
)
def test_what_a_program_does_wrong_is_told(
    tmp_path: Path, text: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        list(program(tmp_path, text)(FRAMES, ANCHORS))


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no_such_program: there is no such program"):
        next(ByProgram("no_such_program --fast")(FRAMES, ANCHORS))


@pytest.mark.parametrize(
    ("anchors", "told"),
    [
        ({}, "no frame with masks to begin from"),
        ({8: np.stack([box(0)])}, r"masks are given for frames \[8\]; the video has 0 to 7"),
        ({0: np.stack([box(0)]), 1: np.stack([box(0)] * 2)}, "masks by frame are of shapes"),
        ({0: box(0)}, "masks by frame are of shapes"),
    ],
)
def test_anchors_that_do_not_fit_are_refused(anchors: dict[int, NDArray[np.bool_]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_anchors(8, anchors)
