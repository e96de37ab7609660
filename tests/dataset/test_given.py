"""What a person may ask about: the same pixels in every form that is taken, and a message that helps for every other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from seglm.dataset.faults import Fault
from seglm.dataset.given import is_video, picture_of, sample_of, video_of
from seglm.utils.film import film
from tests.house.tree import ROOT

RING = ROOT / "imgs" / "toy_ring.png"
NOISE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
NOISE[0, 0], NOISE[0, 1] = 0, 255
FLOAT = NOISE.astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_picture_is_the_same_in_every_form(file: Path) -> None:
    forms = [
        file,
        str(file),
        Image.open(file),
        NOISE,
        NOISE[:, ::-1][:, ::-1],
        torch.from_numpy(NOISE).permute(2, 0, 1),
    ]
    for form in forms:
        sample = sample_of(form)
        np.testing.assert_array_equal(sample.frame(0), NOISE)
        assert sample.size == (6, 9) and sample.num_frames == 1 and not is_video(form)
        assert sample.frame(0).flags.c_contiguous


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_a_pil_image_of_any_mode_is_what_its_file_is(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(NOISE)
    if mode == "I;16":
        image = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    ending = "tif" if mode == "CMYK" else "png"
    image.save(tmp_path / f"a.{ending}")
    from_file = picture_of(tmp_path / f"a.{ending}", "it")
    np.testing.assert_array_equal(picture_of(image, "it"), from_file)
    np.testing.assert_array_equal(picture_of(Image.open(tmp_path / f"a.{ending}"), "it"), from_file)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_of_a_phone_is_turned_whoever_opens_it(turn: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(NOISE).save(tmp_path / "a.png", exif=exif)
    by_path = picture_of(tmp_path / "a.png", "it")
    np.testing.assert_array_equal(picture_of(Image.open(tmp_path / "a.png"), "it"), by_path)
    assert by_path.shape[:2] == ((9, 6) if turn > 4 else (6, 9))


@pytest.mark.parametrize(
    "given, told",
    [
        (FLOAT / 255, r"it is float32, 0.* to 1; permitted is uint8, 0 to 255: give \(255 \* picture\)\.round\(\)\.astype"),
        (FLOAT, r"it is float32, .* to 255; .*: give picture\.astype\('uint8'\)"),
        (FLOAT / 128 - 1, r"it is float32, -1 to .*normalised pixels cannot be taken back"),
        (NOISE.astype(np.uint16) * 257, r"it is uint16, .* to 65535; .*: of 16 bits give \(picture // 256\)"),
        (NOISE.astype(np.int64), r"it is int64, .*: give picture\.astype\('uint8'\)"),
        (NOISE > 9, "it is bool, 0 to 1; permitted is uint8, 0 to 255$"),
        (NOISE.astype(str), "it is <U3, which are no numbers; permitted is uint8"),
        (NOISE[..., 0], r"it is of \[6, 9\]; permitted is \[H, W, 3\], RGB: of a grey one give numpy.stack"),
        (NOISE[..., :1], r"it is of \[6, 9, 1\]; .*: of a grey one give numpy.repeat"),
        (np.dstack([NOISE, NOISE[..., :1]]), r"it is of \[6, 9, 4\]; .*: without its transparency it is picture\[\.\.\., :3\]"),
        (NOISE.transpose(2, 0, 1), r"it is of \[3, 6, 9\]; .*: its channels come first, give picture.transpose\(1, 2, 0\)"),
        (NOISE[:0], r"it of \[0, 9, 3\] has no pixel"),
        (torch.from_numpy(NOISE), r"a tensor of \[6, 9, 3\], channels last; .* give picture.permute\(2, 0, 1\)"),
        (torch.from_numpy(NOISE[..., 0]), r"it is of \[6, 9\]; permitted is \[3, H, W\], RGB: of a grey one give picture.expand"),
        (torch.rand(3, 4, 4), r"it is float32, .*: give \(255 \* picture\)\.round\(\)\.to\(torch\.uint8\)"),
        (torch.rand(3, 4, 4).bfloat16(), r"it is float32, .*\.to\(torch\.uint8\)"),
        (Image.new("F", (3, 3)), r"it is a PIL image of mode F; give picture.convert\('RGB'\)"),
        (b"\xff\xd8", "it is a bytes; permitted are a path, a PIL image"),
        (None, "it is a NoneType; permitted are a path, a PIL image"),
        ("https://example.com/a.jpg", "https://example.com/a.jpg: an address; download it first"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_told_what_to_write(given: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        picture_of(given, "it")


def test_a_path_to_nothing_or_to_no_picture_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png: there is no such picture, video or folder"):
        sample_of("nowhere.png")
    (tmp_path / "a.png").write_bytes(RING.read_bytes()[:300])
    with pytest.raises(Fault, match="is no readable image"):
        sample_of(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(Fault, match="a.txt"):
        sample_of(tmp_path / "a.txt")


FRAMES = np.random.default_rng(1).integers(0, 256, (4, 6, 9, 3), np.uint8)


def test_a_video_is_the_same_in_every_form(tmp_path: Path) -> None:
    for number, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    files = [tmp_path / f"{number}.png" for number in range(4)]
    whole: NDArray[np.uint8] = FRAMES
    for form in (
        tmp_path,
        files,
        [*FRAMES],
        [Image.open(one) for one in files],
        whole,
        torch.from_numpy(whole).permute(0, 3, 1, 2),
    ):
        sample = sample_of(form)  # type: ignore[arg-type]
        assert sample.num_frames == 4 and sample.size == (6, 9) and is_video(form)  # type: ignore[arg-type]
        for number, frame in enumerate(FRAMES):
            np.testing.assert_array_equal(sample.frame(number), frame)
    assert is_video([RING]) and is_video(whole[:1])  # of one frame


def test_a_film_and_an_open_video_are_taken(tmp_path: Path) -> None:
    with film(tmp_path / "a.mp4") as add:
        for frame in FRAMES:
            add(frame)
    sample = sample_of(tmp_path / "a.mp4")
    assert sample.num_frames == 4 and sample_of(video_of(tmp_path / "a.mp4")).num_frames == 4


def test_frames_are_decoded_when_they_are_asked_for(tmp_path: Path) -> None:
    class Counted(list):  # type: ignore[type-arg]
        taken: list[int] = []

        def __getitem__(self, number):  # type: ignore[no-untyped-def]
            self.taken.append(number)
            return super().__getitem__(number)

    frames = Counted(FRAMES)
    sample = sample_of(frames)
    assert frames.taken == [0] and sample.num_frames == 4
    sample.frame(3), sample.frame(3)
    assert frames.taken == [0, 3]


@pytest.mark.parametrize(
    "given, told",
    [
        ([], "a video without a frame; give one at least"),
        ((frame for frame in FRAMES), "a video is a generator; frames are taken by number"),
        ({"a": 1}, "the picture is a dict; permitted are a path"),
        (b"", "the picture is a bytes; permitted are a path"),
        ([FRAMES[0].astype(float)], "frame 0 is float64"),
        (FRAMES.transpose(0, 3, 1, 2), r"frame 0 is of \[3, 6, 9\]; .*channels come first"),
        (FRAMES[None], r"frame 0 is of \[4, 6, 9, 3\]"),
    ],
)
def test_what_is_no_video_is_told_what_to_give(given: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sample_of(given)  # type: ignore[arg-type]


def test_a_frame_of_another_size_is_named() -> None:
    sample = sample_of([FRAMES[0], FRAMES[1][:5]])
    with pytest.raises(
        ValueError, match=r"it is of \(5, 9\), frame 0 of \(6, 9\) \(H, W\); frames are of one size"
    ):
        sample.frame(1)
