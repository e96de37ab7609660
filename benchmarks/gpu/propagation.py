"""SAM-2 on a GPU: masks carried through a video, all objects as one batch and one object after the other."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache, partial

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.record import Number, Row
from benchmarks.propagate import SIZES, Video, batched, boxes, one_by_one
from benchmarks.sizes import LISA_7B
from seglm.model.decoders.sam2 import Sam2Decoder
from seglm.model.decoders.sam2_dims import Sam2Dims

FRAMES = 24
OBJECTS = (1, 4, 16)
ALONE = 4
"""objects that are carried one after the other"""


def propagation(bench: Bench) -> Generator[Row, None, None]:
    """sam2.1_hiera_large at 1024 px, random weights, in bf16: frames of 480p a second, made and their masks fetched included."""
    large = bench.size is LISA_7B
    decoder = _decoder(Sam2Dims() if large else SIZES["toy"], bench.device)
    video = Video(FRAMES if large else 2, (480, 854) if large else (48, 64))

    def seconds(objects: int, *, together: bool) -> float:
        masks = boxes(objects, video.size)

        def run() -> None:
            with torch.autocast(bench.device, torch.bfloat16):
                (batched if together else one_by_one)(decoder, video, masks)

        return bench.clock.seconds(run, repeats=2)

    together = cache(partial(seconds, together=True))

    def measure(objects: int) -> Row:
        taken = together(objects)
        numbers: dict[str, Number] = {"frames/s": len(video) / taken, "peak GiB": bench.clock.peak()}
        return Row(f"{objects} at once", numbers)

    def alone() -> Row:
        taken = seconds(ALONE, together=False)
        numbers: dict[str, Number] = {"frames/s": len(video) / taken, "peak GiB": bench.clock.peak()}
        return Row(f"{ALONE} one by one", numbers | {"against at once": together(ALONE) / taken})

    for objects in OBJECTS if large else OBJECTS[:2]:
        yield bench.attempt(f"{objects} at once", partial(measure, objects))
    yield bench.attempt(f"{ALONE} one by one", alone)


def _decoder(dims: Sam2Dims, device: str) -> Sam2Decoder:
    torch.manual_seed(0)
    with torch.device(device):
        return Sam2Decoder(dims).eval()
