"""Which frame a person's mask is of, and which objects are in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm.evaluation.propagate.objects import frames_of, read_objects
from tests.evaluation.fakes import HEIGHT, WIDTH, palette, rectangle

FIRST = rectangle(4, 2)


@pytest.mark.parametrize(
    ("masks", "frames", "want"),
    [
        (["any.png"], None, {0: "any.png"}),
        (["00004.png", "00000.png"], None, {4: "00004.png", 0: "00000.png"}),
        (["any.png"], [9], {9: "any.png"}),
        (["any.png", "other.png"], [9, 1], {9: "any.png", 1: "other.png"}),
        (["any.png", "other.png"], None, "any.png and other.png are both of frame 0; name the frame of each"),
        (["4.png"], None, "4.png: no frame is called 4, they are 00000 to 00010; .*--frame"),
        (["00030.png"], None, "00030.png: no frame is called 00030"),
        (["4.png"], [4], {4: "4.png"}),
        (["any.png"], [11], "--frame 11: the video has frames 0 to 10"),
        (["any.png"], [1, 2], "1 masks and 2 frames"),
    ],
)
def test_a_mask_is_of_the_frame_of_its_name_else_of_the_first(
    masks: list[str], frames: list[int] | None, want: dict[int, str] | str
) -> None:
    names = [f"{number:05d}" for number in range(11)]
    if isinstance(want, str):
        with pytest.raises(ValueError, match=want):
            frames_of([Path(mask) for mask in masks], frames, names)
        return
    found = frames_of([Path(mask) for mask in masks], frames, names)
    assert {frame: mask.name for frame, mask in found.items()} == want


def test_an_object_has_one_number_in_all_masks(tmp_path: Path) -> None:
    first = palette(tmp_path, "00000.png", FIRST, rectangle(14, 20))
    later = palette(tmp_path, "00005.png", rectangle(14, 2), numbers=(2,))
    numbers, found = read_objects({0: first, 5: later}, (HEIGHT, WIDTH))
    assert numbers == (1, 2)
    np.testing.assert_array_equal(found[0], [FIRST, rectangle(14, 20)])
    np.testing.assert_array_equal(found[5], [np.zeros_like(FIRST), rectangle(14, 2)])
    grey = tmp_path / "grey.png"
    Image.fromarray(FIRST.astype(np.uint8) * 255).save(grey)
    assert read_objects({0: grey}, (HEIGHT, WIDTH))[0] == (255,)


def test_masks_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    empty = palette(tmp_path, "empty.png")
    smooth = tmp_path / "smooth.png"
    Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)).save(smooth)
    for file, size, told in (
        (empty, (HEIGHT, WIDTH), "empty.png: no pixel belongs to an object"),
        (smooth, (HEIGHT, WIDTH), "smooth.png has 256 different values"),
        (empty, (WIDTH, HEIGHT), "empty.png is 24 x 32, the video's frames are 32 x 24"),
    ):
        with pytest.raises(ValueError, match=told):
            read_objects({0: file}, size)
    with pytest.raises(FileNotFoundError, match="nowhere.png: no such mask"):
        read_objects({0: tmp_path / "nowhere.png"}, (HEIGHT, WIDTH))
