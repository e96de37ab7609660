"""Frames of folders and of films: the right ones, in the right order and colours, for whoever asks, from little memory."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seglm.dataset.faults import Fault
from seglm.dataset.given import is_video, sample_of
from seglm.dataset.readers import video_file
from seglm.dataset.readers.video import Video, is_picture, open_folder, open_video, open_whole
from tests.dataset.films import (
    CORNERS,
    KINDS,
    SIZE,
    STEP,
    TELLS,
    damage,
    film,
    only_sound,
    picture,
    turn,
    with_hidden,
)
from tests.dataset.memory import peak_growth


def plainly(path: Path) -> list[NDArray[np.uint8]]:
    """Every frame as FFmpeg gives it from the first on."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def number(pixels: NDArray[np.uint8]) -> int:
    return round(float(pixels[TELLS].mean()) / STEP)


def same(video: Video, index: int, want: NDArray[np.uint8]) -> bool:
    return bool((video.frame(index) == want).all())


# ---- films ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_any_order_gives_the_frames_of_one_pass(kind: str, tmp_path: Path) -> None:
    path = film(tmp_path / f"a.{kind}")
    video, want = open_video(path), plainly(path)
    assert video.num_frames == len(want) == len(video.names) == 30 and video.size == SIZE
    assert video.rate == pytest.approx(25)
    order = [*range(30), *range(29, -1, -1), *random.Random(0).choices(range(30), k=40)]
    assert all(same(video, index, want[index]) for index in order)


@pytest.mark.parametrize("kind", KINDS)
def test_colours_are_red_green_and_blue_in_this_order(kind: str, tmp_path: Path) -> None:
    video = open_video(film(tmp_path / f"a.{kind}", 3))
    for place, colour in CORNERS.items():
        assert np.abs(video.frame(1)[place].astype(int) - colour).max() <= 45, (
            place
        )  # a GIF has 8 levels of red


@pytest.mark.parametrize("rate, size", [(5, (34, 70)), (Fraction(30000, 1001), (120, 68)), (60, (16, 16))])
def test_films_of_any_rate_and_size(rate: Fraction | int, size: tuple[int, int], tmp_path: Path) -> None:
    video = open_video(film(tmp_path / "a.mp4", 12, rate=rate, size=size))
    assert (video.num_frames, video.size) == (12, size)
    assert video.rate == pytest.approx(float(rate), rel=1e-3)
    assert video.frame(11).shape == (*size, 3)


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_frames_that_are_shown_for_different_times_are_one_each(kind: str, tmp_path: Path) -> None:
    times = [0, 40, 50, 300, 310, 320, 900, 1000, 1010, 2000, 2040, 2041]
    path = film(tmp_path / f"a.{kind}", len(times), times=times)
    video, want = open_video(path), plainly(path)
    assert video.num_frames == len(times) == len(want)
    for index in (11, 3, 7, 0, 10, 2):
        assert same(video, index, want[index]) and number(video.frame(index)) == index


def test_frames_that_a_film_hides_are_not_counted(tmp_path: Path) -> None:
    path = with_hidden(tmp_path / "a.webm", 30, numbers=(5, 13, 20))
    video, want = open_video(path), plainly(path)
    assert video.num_frames == len(want) == 30
    assert all(same(video, index, want[index]) for index in (20, 29, 4, 5, 6, 13, 0))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_phones_film_is_turned_as_it_is_shown(degrees: int, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 2)
    turn(path, degrees)
    video = open_video(path)
    want = np.rot90(picture(1), -degrees // 90)
    assert video.size == want.shape[:2]
    assert np.abs(video.frame(1).astype(int) - want).mean() < 8
    other = cv2.VideoCapture(str(path)).read()[1][..., ::-1]
    assert np.abs(video.frame(0).astype(int) - other).mean() < 4, "OpenCV turns it otherwise"


def test_a_film_is_opened_without_being_decoded_and_sought_by_key_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mp4", 240)
    decoded: list[object] = []
    plain = video_file.decoded_frames

    def counted(*args: Any) -> Iterator[Any]:
        for frame in plain(*args):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(video_file, "decoded_frames", counted)
    video = open_video(path)
    assert len(decoded) == 1  # the first, for its size
    want = plainly(path)
    for index in (239, 3, 120, 121, 121, 122):
        assert same(video, index, want[index])
    assert len(decoded) < 40


def test_a_long_film_takes_the_memory_of_a_few_frames(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", 600, size=(240, 320))
    assert peak_growth("tests.dataset.test_video:walk", str(path), "20") > 0
    few, many = (peak_growth("tests.dataset.test_video:walk", str(path), count) for count in ("20", "600"))
    assert many - few < 8 * 2**20, (few, many)  # all frames are 138 MB


def walk(path: str, count: str) -> None:
    video = open_video(path)
    for index in range(int(count)):
        video.frame(index)


def test_several_readers_of_one_film_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    video, want = open_video(path), plainly(path)
    video.frame(7)
    order = random.Random(0).choices(range(30), k=60)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda index: same(video, index, want[index]), order))
    sent = pickle.loads(pickle.dumps(video))
    assert sent == video and same(sent, 20, want[20]) and same(video, 8, want[8])


def test_a_forked_process_reads_for_itself(tmp_path: Path) -> None:
    video = open_video(film(tmp_path / "a.mp4"))
    video.frame(3)
    gc.collect()  # the encoders of these tests have threads; a child that collects them would wait for ever
    fork = multiprocessing.get_context("fork")
    with fork.Pool(2) as pool:
        found = pool.map_async(Numbers(video), range(30))
        mine = [number(video.frame(index)) for index in range(30)]
        assert found.get(60) == mine == list(range(30))


class Numbers:
    def __init__(self, video: Video) -> None:
        self.video = video

    def __call__(self, index: int) -> int:
        return number(self.video.frame(index))


@pytest.mark.parametrize("kind", ["mp4", "mov", "webm"])
def test_a_broken_frame_is_an_error_with_its_number(kind: str, tmp_path: Path) -> None:
    path = film(tmp_path / f"a.{kind}")
    damage(path, 13)
    video, good = open_video(path, "chat/a"), [*range(8), *range(24, 30)]
    for index in good[::-1]:
        assert number(video.frame(index)) == index
    for index in (13, 14, 13):
        with pytest.raises(Fault, match=r"^chat/a: frame 13 is broken.*a\."):
            video.frame(index)
    assert number(video.frame(5)) == 5


@pytest.mark.parametrize("kind", ["avi", "gif"])
def test_where_frames_are_counted_a_broken_one_is_found_at_once(kind: str, tmp_path: Path) -> None:
    path = film(tmp_path / f"a.{kind}", 20, kind=kind)
    damage(path, 13)
    with pytest.raises(Fault, match="^a.*: frame 1[1-3] is broken"):
        open_video(path)


@pytest.mark.parametrize("index", [-1, 30])
def test_a_number_that_no_frame_has_is_refused(index: int, tmp_path: Path) -> None:
    with pytest.raises(Fault, match=f"frame {index} of 30; permitted are 0 to 29"):
        open_video(film(tmp_path / "a.mp4")).frame(index)


def test_what_is_no_film_is_told_apart(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no film " * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    whole = film(tmp_path / "whole.mov").read_bytes()
    cut = tmp_path / "cut.mov"
    cut.write_bytes(whole[: len(whole) // 2])
    still = tmp_path / "still.jpg"
    Image.fromarray(picture(0)).save(still)
    for path, told in {
        text: "is no video that FFmpeg can read",
        empty: "the file is empty",
        cut: "is no video that FFmpeg can read",
        still: "a picture, not a video",
        only_sound(tmp_path / "sound.mp4"): "holds no video, only audio",
        tmp_path / "none.mp4": "there is no video: expected is a folder of frames or a video file",
    }.items():
        with pytest.raises(Fault, match=f"^{path.name}: .*{told}.*{path.name}"):
            open_video(path)


def test_a_picture_is_told_from_an_animation_and_from_a_film(tmp_path: Path) -> None:
    still = tmp_path / "still.gif"
    Image.fromarray(picture(0)).save(still)
    assert is_picture(still)
    assert not is_picture(film(tmp_path / "a.gif", 3)) and not is_picture(film(tmp_path / "a.mp4", 3))


def test_what_a_phone_lays_behind_its_picture_makes_no_film_of_it(tmp_path: Path) -> None:
    shown, behind = (Image.fromarray(picture(number)) for number in range(2))
    phone = tmp_path / "phone.jpg"
    shown.save(phone, format="MPO", save_all=True, append_images=[behind.resize((8, 6))])
    assert is_picture(phone) and not is_video(phone)
    assert abs(sample_of(phone).frame(0).astype(int) - picture(0)).mean() < 6


@pytest.mark.parametrize("ending", ["webp", "tiff"])
def test_several_pictures_that_ffmpeg_does_not_read_are_told_with_what_to_do(
    ending: str, tmp_path: Path
) -> None:
    first, *more = (Image.fromarray(picture(number)) for number in range(3))
    path = tmp_path / f"a.{ending}"
    first.save(path, save_all=True, append_images=more)
    with pytest.raises(Fault, match="holds several pictures, .*; save them as a folder of frames, a GIF"):
        open_video(path)


def test_a_film_of_which_the_end_is_missing_is_not_told_to_hold_nothing_but_nothing(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4", 12).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: whole.index(b"trak") - 4])
    with pytest.raises(Fault, match="holds no video and nothing else; is the file whole?"):
        open_video(cut)


# ---- folders --------------------------------------------------------------------------------------------------------
def folder(path: Path, *names: str) -> Path:
    """Pictures whose grey is their place among the names."""
    path.mkdir()
    for place, name in enumerate(names):
        Image.fromarray(np.full((8, 12, 3), place * 9, np.uint8)).save(path / name)
    return path


def test_a_folder_is_read_in_natural_order_whatever_its_numbers_and_endings(tmp_path: Path) -> None:
    names = ("frame2.png", "frame10.PNG", "frame11.jpg", "frame100.JPEG", "frame1000.JPG")
    path = folder(tmp_path / "v", *names)
    (path / "._frame2.png").write_bytes(b"\0\5\x16\7")
    (path / "Thumbs.db").write_bytes(b"junk")
    video = open_video(path)
    assert video.names == ("frame2", "frame10", "frame11", "frame100", "frame1000")
    assert (video.num_frames, video.size, video.rate) == (5, (8, 12), None)
    assert [int(video.frame(index)[0, 0, 0]) for index in range(5)] == [0, 9, 18, 27, 36]
    assert pickle.loads(pickle.dumps(video)) == video


def test_named_frames_are_taken_in_their_order_and_a_missing_one_is_said(tmp_path: Path) -> None:
    path = folder(tmp_path / "v", *(f"{number:05d}.jpg" for number in range(0, 50, 5)))
    assert open_folder(path, "set/v", ["00045", "00010"]).files == ("00045.jpg", "00010.jpg")
    with pytest.raises(Fault, match=r"^set/v: .*2 of 3 frames are missing: 00003, 00004 \(.*v\)"):
        open_folder(path, "set/v", ["00003", "00004", "00005"])


def test_a_folder_without_frames_or_with_two_for_one_name_is_refused(tmp_path: Path) -> None:
    empty = folder(tmp_path / "empty")
    (empty / "notes.txt").touch()
    with pytest.raises(Fault, match="^empty: .*holds no frame; frames are pictures named .jpg"):
        open_video(empty)
    with pytest.raises(Fault, match="^two: .*a.jpg and a.png are files for one name"):
        open_video(folder(tmp_path / "two", "a.jpg", "a.png"))


def test_what_a_person_asks_about_has_frames_of_one_size_before_the_first_is_answered(tmp_path: Path) -> None:
    path = folder(tmp_path / "v", "0.png", "1.png", "2.png")
    assert open_whole(path) == open_video(path)
    Image.new("RGB", (5, 5)).save(path / "2.png")
    assert open_video(path).num_frames == 3, (
        "a data set's videos are opened often, and decoded when they are asked for"
    )
    with pytest.raises(Fault, match="^v, frame 2: the image is 5 x 5, the first frame is 8 x 12"):
        open_whole(path)
    (path / "1.png").write_bytes(b"")
    with pytest.raises(Fault, match="v, frame 1: the file is empty"):
        sample_of(path)


def test_a_broken_frame_of_a_folder_is_an_error_with_its_number(tmp_path: Path) -> None:
    path = folder(tmp_path / "v", "0.jpg", "5.jpg", "10.jpg")
    video = open_video(path, "set/v")
    (path / "5.jpg").write_bytes((path / "5.jpg").read_bytes()[:-30])
    Image.new("RGB", (5, 5)).save(path / "10.jpg")
    with pytest.raises(Fault, match="^set/v, frame 1: the JPEG is cut short.*5.jpg"):
        video.frame(1)
    with pytest.raises(Fault, match=r"^set/v, frame 2: the image is 5 x 5, the first frame is 8 x 12"):
        video.frame(2)
    with pytest.raises(Fault, match="frame 3 of 3; permitted are 0 to 2"):
        video.frame(3)
