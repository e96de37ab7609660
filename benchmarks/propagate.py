"""Masks carried through a video by SAM-2: all objects in one batch against one object after the other, and the memory it takes.

    python -m benchmarks.propagate [--size toy|tiny] [--objects 16] [--frames 24] [--repeats 3] [--long 20000]

One object after the other is the order of work of Sa2VA's release: a state of SAM-2 for each, with every frame encoded again
(predict_forward in modeling_sa2va_chat.py at d01bf3f). `shared` keeps the features and walks each object by itself. Sides take
turns; process CPU seconds, medians; weights are random, and of each object alone all but a thousandth of the pixels have to be
those of the batch. With --long one object is carried through so many frames, made when they are taken, and the resident memory
is read after the first thousand and at the end.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measure import in_turn, resident
from seglm.model.decoders.sam2 import Sam2Decoder
from seglm.model.decoders.sam2_dims import Sam2Dims
from seglm.model.decoders.sam2_propagate import BySam2, carry, encode_whole
from seglm.utils.flags import Parser

TINY = Sam2Dims(
    embed_dim=96,
    heads=1,
    stages=(1, 2, 7, 2),
    global_attn_blocks=(5, 7, 9),
    window_spec=(8, 4, 14, 7),
    image_size=256,
)
SIZES = {
    "tiny": TINY,  # hiera-tiny, of 256 pixels instead of 1024
    "toy": replace(
        TINY, embed_dim=16, stages=(1, 1, 2, 1), global_attn_blocks=(3,), window_spec=(4, 4, 2, 2), image_size=64, prompt_dim=32,
        memory_dim=8, attn_layers=2, attn_mlp=64, dec_mlp=64, iou_hidden=32,
    ),
}  # fmt: skip
SETTLED = 1000  # frames after which nothing new is allocated
OTHERWISE = 1e-3  # share of pixels that rounding may turn


@dataclass(frozen=True)
class Video:
    """Noise, made when a frame is taken."""

    length: int
    size: tuple[int, int]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> NDArray[np.uint8]:
        return np.random.default_rng(place).integers(0, 256, (*self.size, 3), np.uint8)


def boxes(count: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [count, H, W], a box each."""
    rng, found = np.random.default_rng(0), np.zeros((count, *size), np.bool_)
    for one in found:
        top, left = (int(rng.integers(0, side // 2)) for side in size)
        one[top : top + size[0] // 3, left : left + size[1] // 3] = True
    return found


def batched(decoder: Sam2Decoder, video: Video, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [N, T, H, W]"""
    return np.stack([found.masks for found in BySam2(decoder)(video, {0: masks})], axis=1)


def one_by_one(decoder: Sam2Decoder, video: Video, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.concatenate(
        [batched(decoder, video, masks[number : number + 1]) for number in range(len(masks))]
    )


def shared(decoder: Sam2Decoder, video: Video, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One after the other, every frame encoded once and kept."""
    kept = encode_whole(decoder, [video[frame] for frame in range(len(video))])
    given = torch.from_numpy(masks)[:, None].float()
    side = (decoder.image_size,) * 2
    given = torch.nn.functional.interpolate(given, side, mode="bilinear", antialias=True) >= 0.5

    def features(numbers: Sequence[int]) -> Tensor:
        return kept[list(numbers)]

    for number in range(len(masks)):
        walk = carry(decoder, features, {0: given[number : number + 1]}, num_frames=len(video))
        for _ in walk:
            pass
    return masks[:0]


def growth(decoder: Sam2Decoder, length: int) -> tuple[float, float]:
    """MiB of resident memory: after SETTLED frames, and how much more at the end."""
    video = Video(length, (48, 64))
    settled, last = 0, 0
    for found in BySam2(decoder)(video, {0: boxes(1, video.size)}):
        if found.frame == min(SETTLED, length - 1):
            settled = resident()
    last = resident()
    return settled / 2**20, (last - settled) / 2**20


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="toy")
    parser.add_argument("--objects", type=int, default=16)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", type=int, default=0, help="frames of the long video; 0: none")
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    decoder = Sam2Decoder(SIZES[given.size]).eval()
    video = Video(given.frames, (480, 854) if given.size == "tiny" else (48, 64))
    masks = boxes(given.objects, video.size)
    sides: dict[str, Callable[[], object]] = {
        "batched": lambda: batched(decoder, video, masks),
        "shared": lambda: shared(decoder, video, masks),
        "one by one": lambda: one_by_one(decoder, video, masks),
    }
    turned = np.mean(batched(decoder, video, masks) != one_by_one(decoder, video, masks))
    if turned > OTHERWISE:
        raise SystemExit(f"{turned:.2%} of the pixels differ between a batch and one object after the other")
    seconds = in_turn(sides, given.repeats)
    base = statistics.median(seconds["batched"])
    print(f"{given.size}, {given.objects} objects, {given.frames} frames, pixels that differ: {turned:.1e}")
    for name, times in seconds.items():
        print(f"{name:12}{statistics.median(times):8.2f} CPU s   x{statistics.median(times) / base:.2f}")
    if given.long:
        settled, more = growth(decoder, given.long)
        print(f"{given.long} frames: {settled:.0f} MiB after {SETTLED}, {more:+.1f} MiB at the end")


if __name__ == "__main__":
    main()
