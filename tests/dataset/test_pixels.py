"""Pictures for the encoders: `peer` is the originals' byte for byte, `fast` within one grey level."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from seglm.dataset.pixels import decoder_pixels, vision_pixels
from seglm.model.decoders.sam import SamDecoder, SamDims

SIZES = [
    (480, 640),
    (640, 427),
    (333, 500),
    (128, 128),
    (96, 128),
    (1200, 1600),
    (700, 1024),
    (224, 224),
    (225, 900),
    (1285, 345),  # heights would be cheaper first
]
VISION, SQUARE = 224, 1024


def picture(size: tuple[int, int], *, noise: float = 40) -> NDArray[np.uint8]:
    """Edges, gradients and more noise than any photograph has."""
    rng = np.random.default_rng(sum(size))
    coarse = rng.integers(0, 256, (size[0] // 16 + 1, size[1] // 16 + 1, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST).astype(np.float32)
    return np.clip(smooth + rng.normal(0, noise, smooth.shape), 0, 255).astype(np.uint8)


@contextmanager
def widths_first() -> Iterator[None]:
    """The originals ran on a Pillow that resizes the widths of a picture first; 13 takes the cheaper order."""
    at_once = Image.Image.resize

    def in_two_passes(
        self: Image.Image, size: tuple[int, int], resample: int | None = None, **named: Any
    ) -> Image.Image:
        one = at_once(self, (size[0], self.height), resample, **named)
        return at_once(one, (size[0], size[1]), resample, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "resize", in_two_passes)
        yield


def longest_side(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """SAM's ResizeLongestSide.apply_image with torchvision's resize of a PIL image."""
    scale = SQUARE * 1.0 / max(image.shape[:2])
    height, width = int(image.shape[0] * scale + 0.5), int(image.shape[1] * scale + 0.5)
    with widths_first():
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def clip_processor(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hugging Face's processor with its defaults, less what is done after the pixels are cut out."""
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(do_rescale=False, do_normalize=False)
    with widths_first():
        pixels = processor.preprocess(image, return_tensors="np")["pixel_values"][0]
    return np.asarray(pixels, dtype=np.uint8)


def levels(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> int:
    assert left.shape == right.shape
    return int(np.abs(left.astype(np.int16) - right).max())


@cache
def sam() -> SamDecoder:
    """Sizes do not matter here, but for the square."""
    return SamDecoder(
        SamDims(vit_dim=8, vit_depth=1, vit_heads=1, image_size=SQUARE, prompt_dim=8, dec_heads=1, dec_mlp=8)
    )


def seen_by_sam(pixels: NDArray[np.uint8], resized: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture in grey levels as it reaches SAM's encoder, uint8 [3, *resized]; what lies around it has to be zero."""
    square = sam().normalise([torch.from_numpy(pixels)], [resized])[0]
    height, width = resized
    assert not square[:, height:].any() and not square[:, :, width:].any()
    picture = square[:, :height, :width] * sam().pixel_std + sam().pixel_mean
    return picture.round().to(torch.uint8).numpy()


@pytest.mark.parametrize("size", SIZES)
def test_decoder_pixels_are_those_of_sam(size: tuple[int, int]) -> None:
    image = picture(size)
    want = longest_side(image)
    for mode, allowed in (("peer", 0), ("fast", 1)):
        pixels, (height, width) = decoder_pixels(image, SQUARE, mode=mode)  # type: ignore[arg-type]
        assert (pixels.dtype, (height, width)) == (np.uint8, want.shape[:2])
        seen = seen_by_sam(pixels, (height, width))
        assert levels(seen, want.transpose(2, 0, 1)) <= allowed, mode


@pytest.mark.parametrize("size", SIZES)
def test_vision_pixels_are_those_of_clip(size: tuple[int, int]) -> None:
    image = picture(size)
    want = clip_processor(image)
    for mode, allowed in (("peer", 0), ("fast", 1)):
        pixels = vision_pixels(image, VISION, mode=mode)  # type: ignore[arg-type]
        assert pixels.dtype == np.uint8
        assert levels(pixels, want) <= allowed, mode


@pytest.mark.slow
def test_fast_stays_within_one_level_on_many_pictures() -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        size = (int(rng.integers(100, 1500)), int(rng.integers(100, 1500)))
        image = picture(size, noise=float(rng.choice([5, 10, 120])))
        assert levels(vision_pixels(image, VISION, mode="fast"), clip_processor(image)) <= 1, (number, size)
        seen = seen_by_sam(*decoder_pixels(image, SQUARE, mode="fast"))
        assert levels(seen, longest_side(image).transpose(2, 0, 1)) <= 1, (number, size)


@pytest.mark.slow
def test_fast_is_off_by_two_levels_only_in_rare_pixels_of_flat_drawings() -> None:
    rng = np.random.default_rng(0)
    off, seen = 0, 0
    for _ in range(40):
        size = (int(rng.integers(240, 1500)), int(rng.integers(240, 1500)))
        image = picture(size, noise=0)  # one colour in every block of 16 x 16: no photograph is like that
        pixels, want = vision_pixels(image, VISION, mode="fast"), clip_processor(image)
        assert levels(pixels, want) <= 2
        off += int((np.abs(pixels.astype(np.int16) - want) > 1).sum())
        seen += pixels.size
    assert off / seen < 1e-4


@pytest.mark.parametrize("mode", ["fast", "peer"])
@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (2, 9000), (1, 1), (1, 65535)])
def test_a_side_is_never_0_and_a_thin_picture_is_not_enlarged_whole(size: tuple[int, int], mode: str) -> None:
    image = np.zeros((*size, 3), dtype=np.uint8)
    middle = max(size) // 2
    along = image if size[0] == max(size) else image.transpose(1, 0, 2)
    along[max(0, middle - 40) : middle + 40] = 200
    pixels = vision_pixels(image, VISION, mode=mode)  # type: ignore[arg-type]
    assert pixels.shape == (3, VISION, VISION) and (pixels == 200).all()
    drawn, resized = decoder_pixels(image, SQUARE, mode=mode)  # type: ignore[arg-type]
    assert max(resized) == SQUARE and min(resized) >= 1
    assert drawn.shape[1:] in (resized, size)


@pytest.mark.parametrize("size", [(20, 700), (901, 25)])
def test_the_middle_of_a_thin_picture_is_seen_as_if_it_were_whole(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(size, noise=5)
    seen = vision_pixels(image, VISION, mode="peer")
    monkeypatch.setattr("seglm.dataset.pixels.THINNEST", 10**9)
    assert (
        levels(seen, vision_pixels(image, VISION, mode="peer")) <= 12
    )  # sampled a fraction of a pixel apart
