"""Masks of other programs: read to the right pixels, or refused with depth, channels and values."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seglm.evaluation.offline import score_folder
from seglm.evaluation.scores.files import read_mask, write_mask
from seglm.evaluation.scores.mask_png import CHANNELS, decode_mask
from tests.evaluation.fakes import BENCHMARK, HEIGHT, WIDTH, FakeSource, rectangle
from tests.evaluation.pngs import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, png

MASK = rectangle(5, 7)
BITS = MASK.astype(np.int64)
BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (128, 0, 0)
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}


def _highest(depth: int) -> list[int]:
    return sorted({1, 2**depth - 1} | ({255} if depth >= 8 else set()))


def _channels(kind: int) -> int:
    return {RGB: 3, RGBA: 3}.get(kind, 1)


def _written(mask: NDArray[np.int64], value: int, depth: int, kind: int) -> bytes:
    numbers = np.stack([mask * value] * _channels(kind), -1)
    if kind in (GREY_ALPHA, RGBA):
        numbers = np.concatenate([numbers, np.full_like(numbers[..., :1], 2**depth - 1)], -1)
    return png(numbers, depth, kind)


@pytest.mark.parametrize("what", ["an object", "nothing", "everything"])
@pytest.mark.parametrize(
    ("depth", "kind", "value"),
    [(d, k, v) for k, ds in DEPTHS.items() if k != PALETTE for d in ds for v in _highest(d)],
)
def test_every_depth_and_channels_are_read_to_the_same_mask(
    depth: int, kind: int, value: int, what: str
) -> None:
    bits = {"an object": BITS, "nothing": 0 * BITS, "everything": 0 * BITS + 1}[what]
    np.testing.assert_array_equal(decode_mask(_written(bits, value, depth, kind)), bits == 1)


@pytest.mark.parametrize("depth", DEPTHS[PALETTE])
@pytest.mark.parametrize(
    ("numbers", "palette"),
    [
        (BITS, [BLACK, RED]),  # VOC's and DAVIS's colours
        (BITS, [BLACK, WHITE]),
        (BITS, [BLACK, (1, 1, 1)]),
        (BITS + 1, [RED, BLACK, WHITE]),  # by colour
    ],
)
def test_a_palette_is_read_by_number_or_by_black_and_white(
    depth: int, numbers: NDArray[np.int64], palette: list[tuple[int, int, int]]
) -> None:
    if 2**depth < len(palette):
        pytest.skip(f"a palette of {len(palette)} colours needs more than {depth} bit")
    np.testing.assert_array_equal(decode_mask(png(numbers, depth, PALETTE, palette=palette)), MASK)


FULL = np.full_like(BITS, 255)


@pytest.mark.parametrize(
    "content",
    [
        png(np.stack([FULL, FULL, FULL, 255 * BITS], -1), 8, RGBA),  # white, and transparent around
        png(np.stack([FULL, 255 * BITS], -1), 8, GREY_ALPHA),
        png(np.stack([65535 * BITS] * 2, -1), 16, GREY_ALPHA),  # value and alpha say the same
        png(BITS, 1, PALETTE, palette=[BLACK, WHITE], clear=b"\0"),
        png(BITS, 8, GREY, clear=struct.pack(">H", 0)),
        png(65535 * BITS, 16, GREY, clear=struct.pack(">H", 0)),
        png(BITS, 2, GREY, clear=struct.pack(">H", 0)),
        png(np.stack([65535 * BITS] * 3, -1), 16, RGB, clear=struct.pack(">HHH", 0, 0, 0)),
    ],
)
def test_what_is_transparent_is_background(content: bytes) -> None:
    np.testing.assert_array_equal(decode_mask(content), MASK)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (png(BITS * 3, 8, GREY), "8-bit grey PNG with the values 0, 3"),
        (png(BITS * 300, 16, GREY), "16-bit grey PNG with the values 0, 300"),
        (png(BITS * 2, 2, GREY), "2-bit grey PNG with the values 0, 2"),
        (png(BITS + 1, 4, GREY), "4-bit grey PNG with the values 1, 2"),
        (png(np.arange(BITS.size).reshape(BITS.shape) % 256, 8, GREY), "8-bit grey PNG with the values 0, 1, 2, 3, 4, 5, ..."),
        (png(np.stack([BITS * 255, 0 * BITS, 0 * BITS], -1), 8, RGB), r"8-bit RGB PNG with the colours \(0, 0, 0\), "),
        (png(np.stack([BITS * 9] * 3, -1), 16, RGB), "16-bit RGB PNG with the values 0, 9"),
        (png(np.stack([FULL, FULL, FULL, 100 * BITS], -1), 8, RGBA), "8-bit RGBA PNG that is half transparent, alpha 0, 100"),
        (png(np.stack([0 * BITS, 65535 * BITS], -1), 16, GREY_ALPHA), r"16-bit grey\+alpha PNG whose object may be"),
        (png(np.stack([FULL, 0 * BITS], -1), 8, GREY_ALPHA), r"8-bit grey\+alpha PNG whose object may be"),
        (png(2 * BITS, 8, PALETTE, palette=[BLACK, RED, RED]), r"8-bit palette PNG with the numbers and colours 0 \("),
        (png(BITS, 1, PALETTE, palette=[WHITE, BLACK]), "1-bit palette PNG with the numbers and colours 0 "),
        (png(0 * BITS, 1, PALETTE, palette=[WHITE]), "1-bit palette PNG"),
        (png(BITS, 4, PALETTE, palette=[RED, WHITE]), "4-bit palette PNG"),
    ],
)  # fmt: skip
def test_what_may_be_read_in_two_ways_is_refused_with_depth_and_channels(content: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=f"^is a {told}.*save 0 and 255 as an 8-bit grey PNG"):
        decode_mask(content)


def _every_kind() -> dict[str, bytes]:
    found = {
        f"{CHANNELS[kind]} {depth}": _written(BITS, 1, depth, kind)
        for kind in CHANNELS
        if kind != PALETTE
        for depth in DEPTHS[kind]
    }
    return found | {"palette": png(BITS, 8, PALETTE, palette=[BLACK, RED])}


@pytest.mark.parametrize("kind", _every_kind())
def test_a_file_that_was_cut_short_or_damaged_is_refused_or_the_same_mask(kind: str) -> None:
    content = _every_kind()[kind]
    pixels_end = content.index(b"IEND") - 4
    refused = 0
    for place in range(len(content)):
        damaged = content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
        for broken in (content[:place], damaged):
            try:
                np.testing.assert_array_equal(decode_mask(broken), MASK)
            except ValueError as error:
                assert str(error).startswith(("is no PNG", "is damaged or cut short", "is empty"))
                refused += 1
            else:
                assert place >= pixels_end  # behind the pixels
    assert refused >= 2 * pixels_end


JPEG = cv2.imencode(".jpg", MASK.astype(np.uint8) * 255)[1].tobytes()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"is empty \(0 bytes\); write it again"),
        (JPEG, r"is no PNG, it begins with b'\\xff\\xd8"),
        (b"<html>not found</html>", "is no PNG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is no PNG"),
        (_written(BITS, 255, 8, GREY)[:-30], "is damaged or cut short"),
        (_written(BITS.T, 255, 8, GREY), r"is a mask of \(32, 24\) for a picture of \(24, 32\); masks are scored at"),
    ],
)  # fmt: skip
def test_scoring_a_folder_names_the_picture_and_the_file(content: bytes, told: str, tmp_path: Path) -> None:
    selection = BENCHMARK.select(FakeSource(1))
    for target in selection.sample(0).targets:
        write_mask(tmp_path / f"{target.key}.png", target.masks([0])[0])
    file = tmp_path / f"{selection.sample(0).targets[0].key}.png"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^ReasonSeg\|val/000: .*{file.name} {told}"):
        score_folder(tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_our_own_masks_are_read_as_they_were_written(tmp_path: Path) -> None:
    for mask in (MASK, ~MASK, np.zeros((HEIGHT, WIDTH), dtype=np.bool_), np.ones((1, 3000), dtype=np.bool_)):
        write_mask(tmp_path / "a.png", mask)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png", size=mask.shape), mask)
    with pytest.raises(FileNotFoundError, match=r"^a cup: .*b\.png: no such mask"):
        read_mask(tmp_path / "b.png", key="a cup")


def test_a_png_that_is_shown_otherwise_than_it_is_stored_is_no_mask() -> None:
    first = Image.fromarray(np.eye(4, dtype=np.uint8) * 255)
    for more, said in (
        ({"save_all": True, "append_images": [first.rotate(90)]}, "holds 2 pictures"),
        ({"exif": exif(6)}, r"is turned by an EXIF tag \(orientation 6\)"),
    ):
        first.save(file := io.BytesIO(), "PNG", **more)
        with pytest.raises(ValueError, match=f"^{said}.*save it"):
            decode_mask(file.getvalue(), size=(4, 4))
    first.save(file := io.BytesIO(), "PNG", exif=exif(1))
    assert decode_mask(file.getvalue()).sum() == 4


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags
