"""One rule of orientation for size and pixels, and label maps by their stored numbers."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from seglm.dataset.faults import Fault
from seglm.dataset.frames import ORIENTATION, TURNED, frame_size, read_frame, read_labels
from seglm.dataset.pipeline import clip
from seglm.dataset.sources import open_source
from tests.dataset.mini import ONE

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF")
STORED = (60, 80)


def picture() -> NDArray[np.uint8]:
    """Bright in one corner, so that every turn shows."""
    pixels = np.zeros((*STORED, 3), dtype=np.uint8)
    pixels[:20, :30] = (250, 120, 10)
    return pixels


def save(path: Path, kind: str, orientation: int | None) -> Path:
    exif = Image.Exif()
    if orientation:
        exif[ORIENTATION] = orientation
    image = Image.fromarray(picture())
    more = {"MPO": {"save_all": True, "append_images": [image]}, "WEBP": {"lossless": True}}.get(kind, {})
    image.save(path, kind, exif=exif, **more)
    return path


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("kind", FORMATS)
def test_size_and_pixels_are_turned_alike_in_every_format(
    kind: str, orientation: int, tmp_path: Path
) -> None:
    path = save(tmp_path / "a.jpg", kind, orientation)
    plain = Image.fromarray(picture())
    plain.getexif()[ORIENTATION] = orientation
    want = np.asarray(ImageOps.exif_transpose(plain))
    frame = read_frame(path, "x")
    assert frame.shape[:2] == frame_size(path, "x") == want.shape[:2]
    assert want.shape[:2] == (STORED[::-1] if orientation in TURNED else STORED)
    assert np.abs(frame.astype(int) - want).mean() < 3  # JPEG is not exact


def test_the_exif_of_a_png_is_found_behind_its_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", "PNG", 6)
    content = path.read_bytes()
    at = content.index(b"eXIf") - 4
    length = struct.unpack(">I", content[at : at + 4])[0] + 12
    chunk, end = content[at : at + length], content.index(b"IEND") - 4
    path.write_bytes(content[:at] + content[at + length : end] + chunk + content[end:])
    assert frame_size(path, "x") == read_frame(path, "x").shape[:2] == STORED[::-1]


@pytest.mark.parametrize(
    "damage", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"junk"]
)
def test_a_damaged_tag_turns_nothing(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(picture()).save(path, exif=b"Exif\0\0" + damage)
    assert frame_size(path, "x") == read_frame(path, "x").shape[:2] == STORED


def test_the_annotations_may_speak_of_the_stored_orientation(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", "JPEG", 6)
    assert read_frame(path, "x", STORED).shape[:2] == STORED
    assert read_frame(path, "x", STORED[::-1]).shape[:2] == STORED[::-1]
    with pytest.raises(Fault, match="80 x 60, its annotations are for 61 x 80"):
        read_frame(path, "x", (61, 80))


@pytest.mark.parametrize("kind", FORMATS[:4])
def test_a_mask_lies_on_a_phones_picture_as_it_is_shown(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "ReasonSeg" / "val"
    folder.mkdir(parents=True)
    save(folder / "a.jpg", kind, 6)
    points = [[30, 0], [59, 0], [59, 29], [30, 29]]  # the corner, in a picture of 80 x 60 (H x W)
    shape = {"label": "target", "shape_type": "polygon", "points": points}
    content = {"text": ["the corner"], "is_sentence": False, "shapes": [shape]}
    (folder / "a.json").write_text(json.dumps(content))
    one = clip(open_source("ReasonSeg|val", tmp_path).sample(0), frames=ONE)
    [[mask]], [frame] = one.masks, one.drawn
    assert mask.shape == frame.shape[:2] == (80, 60) and mask.sum() == 900
    bright = frame[..., 0] > 125
    assert (mask & bright).sum() >= 580  # the patch is 600 pixels in 20 columns of the shape's 30


@pytest.mark.parametrize(
    "height, width, size",
    [(80, 60, (80, 60)), (60, 80, (60, 80)), (None, 60, (80, 60)), (160, 120, None), (80, 61, None)],
)
def test_a_picture_of_another_size_than_its_outlines_are_drawn_on_is_refused(
    height: int | None, width: int, size: tuple[int, int] | None, tmp_path: Path
) -> None:
    """A phone's picture, shown as 80 x 60 and stored as 60 x 80 (H x W): outlines are of the one or the other."""
    folder = tmp_path / "ReasonSeg" / "val"
    folder.mkdir(parents=True)
    save(folder / "a.jpg", "JPEG", 6)
    content = {"text": ["it"], "is_sentence": False, "shapes": [], "imageHeight": height, "imageWidth": width}
    (folder / "a.json").write_text(json.dumps(content))
    source = open_source("ReasonSeg|val", tmp_path)
    if size is None:
        with pytest.raises(Fault, match=f"val/a: .*drawn on a picture of {height} x {width} .* is 80 x 60"):
            source.sample(0)
    else:
        one = clip(source.sample(0), frames=ONE)
        assert one.size == one.drawn[0].shape[:2] == one.masks[0].shape[1:] == size


def grey_png(numbers: NDArray[np.uint8], bits: int) -> bytes:
    """A grey PNG of a bit depth, written chunk by chunk: no library here writes 2 and 4 bits of grey."""
    planes = np.unpackbits(numbers[..., None], axis=-1)[..., 8 - bits :].reshape(len(numbers), -1)
    lines = b"".join(b"\0" + np.packbits(line).tobytes() for line in planes)
    height, width = numbers.shape
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0),
        b"IDAT": zlib.compress(lines),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks.items()
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("has_palette", [False, True])
def test_a_label_map_of_few_bits_holds_the_numbers_that_are_stored(
    bits: int, has_palette: bool, tmp_path: Path
) -> None:
    numbers = (np.arange(35).reshape(5, 7) * 3 % 2**bits).astype(np.uint8)
    path = tmp_path / "a.png"
    if has_palette:
        image = Image.fromarray(numbers, mode="P") if bits == 8 else Image.fromarray(numbers).convert("P")
        image.putdata(numbers.reshape(-1).tolist())
        image.putpalette([value for level in range(256) for value in (255 - level, level, 7)])
        image.save(path, bits=bits)
    else:
        path.write_bytes(grey_png(numbers, bits))
    assert path.read_bytes()[24] == bits
    assert (read_labels(path, "x") == numbers).all()


@pytest.mark.parametrize(
    "kind, mode, message",
    [
        ("JPEG", "L", "in JPEG; permitted is PNG"),
        ("PNG", "RGB", "of mode RGB"),
        ("PNG", "I;16", "of mode I;16"),
    ],
)
def test_what_holds_other_numbers_is_no_label_map(kind: str, mode: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new(mode, (7, 5)).save(path, kind)
    with pytest.raises(Fault, match=f"^set/a: .*{message}"):
        read_labels(path, "set/a")


@pytest.mark.parametrize("read", [read_frame, frame_size, read_labels])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(read: object, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(
        grey_png(np.zeros((1, 1), np.uint8), 1).replace(b"\0\0\0\x01" * 2, struct.pack(">II", 20000, 20000))
    )
    head = path.read_bytes()[12:29]
    path.write_bytes(path.read_bytes()[:29] + struct.pack(">I", zlib.crc32(head)) + path.read_bytes()[33:])
    with pytest.raises(Fault, match="^set/a: a picture of more than 178956970 pixels"):
        read(path, "set/a")  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_a_picture_cut_short_is_a_fault(kind: str, share: float, tmp_path: Path) -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, kind)
    path = tmp_path / "a.jpg"
    path.write_bytes(file.getvalue())
    assert read_frame(path, "set/a").shape == noise.shape
    path.write_bytes(file.getvalue()[: int(share * len(file.getvalue()))])
    with pytest.raises(Fault, match="^set/a: "):
        read_frame(path, "set/a")


def test_a_path_may_be_text(tmp_path: Path) -> None:
    path = str(save(tmp_path / "a.png", "PNG", 6))
    assert read_frame(path, "x").shape[:2] == frame_size(path, "x") == STORED[::-1]


def test_a_mask_of_another_size_names_its_file_and_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.zeros((50, 80), dtype=np.uint8)).save(path)
    assert read_labels(str(path), "x", (50, 80)).shape == (50, 80)
    with pytest.raises(
        Fault, match=r"^set/a: the mask is 50 x 80, its picture is 64 x 64 \(H x W\) \(.*mask\.png\)"
    ):
        read_labels(path, "set/a", (64, 64))
