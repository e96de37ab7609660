"""Masks of videos on disk: what is written is read again, by other programs too, and is there whole or not at all."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seglm.evaluation.scores import video_predictions
from seglm.evaluation.scores.expressions import Asked
from seglm.evaluation.scores.files import MASKS
from seglm.evaluation.scores.video_files import open_predictions
from seglm.evaluation.scores.video_predictions import write_frame
from seglm.utils.types import Sample, Target

SIZE = (9, 13)
FRAMES = ("00000", "00005", "00007")
TARGET = Target(texts=("the red car",), masks=lambda frames: np.zeros((len(frames), *SIZE), bool), key="10")
SAMPLE = Sample(
    key="revos|valid/TAO/video_1",
    size=SIZE,
    frame=lambda number: np.zeros((*SIZE, 3), np.uint8),
    num_frames=len(FRAMES),
    targets=(TARGET,),
    frame_names=FRAMES,
)


def drawn(frame: int) -> NDArray[np.bool_]:
    return np.random.default_rng(frame).random(SIZE) > 0.5


def test_files_are_named_and_stored_as_the_programs_of_the_field_do_it(tmp_path: Path) -> None:
    for frame in (2, 0, 1):
        write_frame(tmp_path / MASKS, SAMPLE, TARGET, frame, drawn(frame))
    folder = tmp_path / MASKS / "TAO" / "video_1" / "10"
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.png" for name in FRAMES]
    picture = Image.open(folder / "00005.png")
    assert (picture.mode, picture.size) == ("L", SIZE[::-1])
    np.testing.assert_array_equal(np.asarray(picture), drawn(1) * 255)
    grey = cv2.imread(str(folder / "00005.png"), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    np.testing.assert_array_equal(grey, drawn(1) * 255)
    asked = Asked("TAO/video_1", "10")
    for frame, mask in enumerate(open_predictions(tmp_path).masks(asked, FRAMES)):
        np.testing.assert_array_equal(mask, drawn(frame))


def test_a_write_that_breaks_off_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frame(tmp_path, SAMPLE, TARGET, 0, drawn(0))
    full = OSError(28, "No space left on device")

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise full

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr("builtins.open", lambda *args, **kwargs: Full())
        write_frame(tmp_path, SAMPLE, TARGET, 0, drawn(1))
    [path] = (tmp_path / "TAO" / "video_1" / "10").iterdir()
    assert path.name == "00000.png"
    np.testing.assert_array_equal(np.asarray(Image.open(path)) > 0, drawn(0))


def test_a_mask_of_another_size_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"10/00005\.png: a mask of \(3, 4\) for a video of \(9, 13\) \(H, W\)"
    ):
        write_frame(tmp_path, SAMPLE, TARGET, 1, np.zeros((3, 4), np.bool_))


@pytest.mark.parametrize("name", ["../up", "/etc", "a/../../b", ""])
def test_names_that_lead_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no file below a folder"):
        write_frame(tmp_path, SAMPLE, replace(TARGET, key=name), 0, drawn(0))
    with pytest.raises(ValueError, match="names no file below a folder"):
        video_predictions.video_name(replace(SAMPLE, key=f"revos|valid/{name}"))
