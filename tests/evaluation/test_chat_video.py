"""An answer about a video: files, words, and the way from the command to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import chat
from seglm.dataset.readers.video import Video, open_video
from seglm.evaluation.asking.chat_video import described_video, save_video
from seglm.evaluation.scores.files import read_mask
from seglm.utils.answers import Answer, Spoken
from seglm.utils.film import film
from seglm.utils.prediction import FramePrediction, seen
from tests.evaluation.fakes import HEIGHT, WIDTH, answered, predicted, rectangle
from tests.tiny import tiny_model

NAMES = ("00000", "00005", "00010", "00015")


def picture(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four frames, as data sets keep them."""
    (tmp_path / "clip").mkdir()
    for number, name in enumerate(NAMES):
        cv2.imwrite(str(tmp_path / "clip" / f"{name}.png"), picture(number)[..., ::-1])
    return tmp_path / "clip"


def moving(*answers: FramePrediction) -> Iterator[FramePrediction]:
    return (replace(answer, frame=number) for number, answer in enumerate(answers))


def saved(video: Video, out: Path, *answers: FramePrediction) -> list[str]:
    return described_video(save_video(moving(*answers), video, video.frame, "clip", out))


def test_every_frame_has_its_mask_and_film_and_strip_show_them(folder: Path, tmp_path: Path) -> None:
    masks = [rectangle(3, 2 + 4 * number) for number in range(3)]
    lines = saved(
        open_video(folder), tmp_path / "out", *map(predicted, masks), predicted(np.zeros_like(masks[0]))
    )
    assert lines[0] == "text_output: It is [SEG]."
    assert (
        lines[1] == f"mask 0: in 3 of 4 frames, 10.4 % of the picture there: {tmp_path / 'out/clip_mask_0'}"
    )
    for name, mask in zip(NAMES, masks, strict=False):
        np.testing.assert_array_equal(read_mask(tmp_path / f"out/clip_mask_0/{name}.png"), mask)
    shown = open_video(tmp_path / "out/clip_masked.mp4")
    assert (shown.num_frames, shown.size, shown.rate) == (4, (HEIGHT, WIDTH), 10)
    assert np.array(Image.open(tmp_path / "out/clip_strip.png")).shape[1] > 4 * WIDTH


def test_words_only_leave_no_film_and_other_words_later_are_said(folder: Path, tmp_path: Path) -> None:
    lines = saved(open_video(folder), tmp_path / "out", *[predicted(None)] * 4)
    assert lines[0] == "text_output: I do not know." and "no [SEG] was produced" in lines[1]
    assert not list((tmp_path / "out").iterdir())
    saved(open_video(folder), tmp_path / "out", *[predicted(rectangle(3, 2))] * 4)
    before = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    assert {"clip_mask_0", "clip_masked.mp4", "clip_strip.png"} < set(before)
    saved(open_video(folder), tmp_path / "out", *[predicted(None)] * 4)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == before
    later = predicted(rectangle(1, 1), text="There, [SEG].")
    lines = saved(open_video(folder), tmp_path / "out", predicted(None), later, later, later)
    assert lines[0] == "text_output: I do not know. (frame 0; 2 different answers over the frames)"
    assert lines[1].startswith("mask 0: in 3 of 4 frames") and lines[-1].startswith("strip: ")


def test_a_thing_that_is_rejected_is_said_to_be_absent(folder: Path, tmp_path: Path) -> None:
    no = seen(0, Answer(Spoken("No [REJ].", (), "rejected", ("[REJ]",)), (None,), (0.0,)), (HEIGHT, WIDTH))
    assert "the model says that it is not" in saved(open_video(folder), tmp_path / "out", *[no] * 4)[1]


def test_what_the_decoder_does_not_see_is_said_to_be_out_of_sight(folder: Path, tmp_path: Path) -> None:
    there = seen(0, replace(answered(rectangle(1, 1)), there=(4.0,)), (HEIGHT, WIDTH))
    hidden = seen(0, replace(answered(np.zeros((HEIGHT, WIDTH), np.bool_)), there=(-0.5,)), (HEIGHT, WIDTH))
    assert [one.segments[0].is_there for one in (there, hidden)] == [True, False]
    assert predicted(rectangle(1, 1)).segments[0].is_there is None
    out = tmp_path / "out"
    line = saved(open_video(folder), out, there, hidden, hidden, there)[1]
    assert line.startswith("mask 0: in 2 of 4 frames, 10.4 % of the picture there, out of sight in 2: ")
    line = saved(open_video(folder), out, *[hidden] * 4)[1]
    assert line.startswith("mask 0: absent: the mask decoder says that it is in no frame: ")


@pytest.mark.parametrize("kind", ["folder", "film"])
def test_chat_answers_about_a_video_by_what_it_is(
    kind: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    about = folder
    if kind == "film":
        about = tmp_path / "film.mp4"
        with film(about) as add:
            for number in range(4):
                add(picture(number))
    monkeypatch.setattr(chat, "_open", lambda given: tiny_model())
    out = tmp_path / "out"
    for flag in ("--video", "--image"):  # told apart by what it is, not by the flag
        chat.main(
            [
                flag,
                str(about),
                "--prompt",
                "Segment it.",
                "--vis_save_path",
                str(out),
                "--max_new_tokens",
                "3",
            ]
        )
        told = (
            f"--image {about}: it is a video of 4 frames, and answered as one\n" if flag == "--image" else ""
        )
        assert capsys.readouterr().out.startswith(f"{told}text_output: ")
    with pytest.raises(SystemExit, match="--image and --video: a question is about one of them"):
        chat.main(["--video", str(about), "--image", str(about), "--prompt", "a"])
    with pytest.raises(SystemExit, match="File not found: nowhere.mp4"):
        chat.main(["--video", "nowhere.mp4", "--prompt", "a"])


def test_a_frame_that_the_film_wants_again_is_not_decoded_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    read = type(open_video(folder)).frame

    def noted(video: Video, number: int) -> NDArray[np.uint8]:
        decoded.append(number)
        return read(video, number)  # type: ignore[arg-type]

    monkeypatch.setattr(type(open_video(folder)), "frame", noted)
    monkeypatch.setattr(chat, "_open", lambda given: tiny_model())
    flags = ["--vis_save_path", str(tmp_path / "out"), "--max_new_tokens", "2"]
    chat.main(["--video", str(folder), "--prompt", "Segment it.", *flags])
    assert sorted(decoded) == [0, 1, 2, 3]


def test_what_is_asked_about_is_looked_at_before_a_model_is_loaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chat, "_open", lambda given: pytest.fail("a model is loaded"))
    films = tmp_path / "films"
    films.mkdir()
    Image.fromarray(picture(0)).save(films / "sheet.png")
    for name in ("a.mp4", "b.MP4"):
        (films / name).touch()
    cut, junk = tmp_path / "cut.png", tmp_path / "junk.jpg"
    Image.fromarray(picture(0)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-400])
    junk.write_bytes(b"no picture")
    for about, told in {
        films: f"{films}: the folder of frames: holds 2 films \\(a.mp4, b.MP4\\); name one of them",
        cut: f"{cut}: is no readable image",
        junk: f"{junk}: is no readable image",
    }.items():
        with pytest.raises(SystemExit, match=f"^error: {told}[^;]*$|^error: {told}, or a folder") as ended:
            chat.main(["--image", str(about), "--prompt", "a", "--vis_save_path", str(tmp_path / "out")])
        assert "dataset.check" not in str(ended.value) and str(ended.value).count(str(about)) == 1
    assert capfd.readouterr().err == ""  # nothing of OpenCV's


def test_a_picture_that_is_called_a_video_is_said_to_be_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.look_at(folder / "00000.png", "--video")
    assert capsys.readouterr().out.endswith("00000.png: it is a picture, and answered as one\n")
    chat.look_at(folder / "00000.png", "--image")
    chat.look_at(folder, "--video")
    assert capsys.readouterr().out == ""
