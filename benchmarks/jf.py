"""J&F against davis2017-evaluation's order of work, in one process and thread: masks in memory, and folders of PNGs.

    python -m benchmarks.jf [--sizes 480x854,720x1280,1080x1920] [--frames 24] [--objects 3] [--repeats 5]

Masks are blobs, 4 to 30 % of the frame's height in radius, and a prediction is its truth moved by up to 2 % of the height,
with another outline; every tenth is empty. Sides take turns, frame by frame or video by video; process CPU seconds, medians.
All numbers have to be equal to the last bit. A frame is counted several times in a row, and once: then it comes from memory
and not from the processor's cache, which is a fifth of what a small frame costs us and nothing to the original.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import plain_jf
from benchmarks.measure import in_turn
from seglm.evaluation.scores.davis import num_objects, semi_supervised
from seglm.evaluation.scores.regions import count_frame
from seglm.evaluation.scores.video_files import PngFolder
from seglm.utils.flags import Parser

RADII = (0.04, 0.3)  # of a blob, share of the frame's height
MOVED = 0.02  # share of the frame's height
CORNERS = 40
CALLS = 5  # in a row
EMPTY = 10  # one prediction in so many is
VIDEO = "v"
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128] + [0] * 753

Mask = NDArray[np.bool_]


def blob(rng: np.random.Generator, size: tuple[int, int], middle: NDArray[np.float64], radius: float) -> Mask:
    """A wavy disk. middle: (x, y) in pixels; radius in pixels."""
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    waves = sum(depth * np.sin(count * angles + rng.uniform(0, 6)) for count, depth in ((3, 0.2), (7, 0.1)))
    points = middle + (radius * (1 + waves))[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    drawn = np.zeros(size, dtype=np.uint8)
    cv2.fillPoly(drawn, [points.astype(np.int32)], 1)
    return drawn.view(np.bool_)


def pairs(size: tuple[int, int], count: int, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(predictions, truths), bool [count, H, W]."""
    rng, height = np.random.default_rng(seed), size[0]
    shown, truth = (np.zeros((count, *size), dtype=np.bool_) for _ in range(2))
    for number in range(count):
        middle, radius = rng.uniform(0.1, 0.9, 2) * size[::-1], rng.uniform(*RADII) * height
        truth[number] = blob(rng, size, middle, radius)
        if number % EMPTY:
            shown[number] = blob(rng, size, middle + rng.uniform(-MOVED, MOVED, 2) * height, radius)
    return shown, truth


def in_memory(size: tuple[int, int], frames: int, repeats: int, calls: int) -> list[float]:
    """Original / ours of each repeat, for masks in memory. calls: of each side for a frame, one behind the other."""
    shown, truth = pairs(size, frames)
    taken: dict[str, list[float]] = {"original": [], "ours": []}
    for _ in range(repeats):
        began = time.process_time()
        regions = plain_jf.regions(truth, shown)
        seconds = {"original": (time.process_time() - began) * calls, "ours": 0.0}
        for number, masks in enumerate(zip(shown, truth, strict=True)):
            f, counts = 0.0, None
            began = time.process_time()
            for _ in range(calls):
                f = plain_jf.contours(masks[1], masks[0])
            between = time.process_time()
            for _ in range(calls):
                counts = count_frame(*masks)
            seconds["ours"] += time.process_time() - between
            seconds["original"] += between - began
            assert counts is not None
            _check(f"J and F of frame {number}", (regions[number], f), (counts.j, counts.f))
        for side, each in seconds.items():
            taken[side].append(each)
    times = "once" if calls == 1 else f"x{calls}"
    return _row(f"J&F {size[0]}x{size[1]} {times}", taken, frames * calls)


def from_files(size: tuple[int, int], frames: int, objects: int, repeats: int) -> list[float]:
    """Original / ours of each repeat, for folders of palette PNGs, semi-supervised."""
    with tempfile.TemporaryDirectory() as root:
        shown, truth = PngFolder(Path(root) / "shown"), PngFolder(Path(root) / "truth")
        names = [f"{frame:05d}" for frame in range(frames)]
        stacks = [pairs(size, frames, seed) for seed in range(objects)]
        for side, folder in enumerate((shown, truth)):
            (folder.place / VIDEO).mkdir(parents=True)
            for frame, name in enumerate(names):
                numbers = np.zeros(size, dtype=np.uint8)
                for number, stack in enumerate(stacks, start=1):
                    numbers[stack[side][frame]] = number
                picture = Image.fromarray(numbers)
                picture.putpalette(PALETTE)
                picture.save(folder.place / VIDEO / f"{name}.png")

        def original() -> list[tuple[float, float]]:
            files = [f"{name}.png" for name in names]
            return plain_jf.evaluate(truth.place / VIDEO, shown.place / VIDEO, files)

        def ours() -> list[tuple[float, float]]:
            scored = names[1:-1]
            maps = zip(shown.numbers(VIDEO, scored), truth.numbers(VIDEO, scored), strict=True)
            video = semi_supervised(VIDEO, maps, objects=num_objects(next(truth.numbers(VIDEO, names[:1]))))
            return [(one.j.mean, one.f.mean) for one in video.objects]

        _check("scores of objects", original(), ours())
        return _row(
            f"PNGs {size[0]}x{size[1]}", in_turn({"original": original, "ours": ours}, repeats), frames - 2
        )


def _check(what: str, original: object, ours: object) -> None:
    if original != ours:
        raise RuntimeError(
            f"{what}: ours are {ours}, the original's {original}; speed of other numbers is worth nothing"
        )


def _row(title: str, taken: Mapping[str, Sequence[float]], frames: int) -> list[float]:
    """Prints medians in ms a frame, and original / ours of these; in brackets the least and largest of one repeat."""
    ratios = [before / after for before, after in zip(taken["original"], taken["ours"], strict=True)]
    before, after = (1e3 * statistics.median(taken[side]) / frames for side in ("original", "ours"))
    spread = f"({min(ratios):.1f}-{max(ratios):.1f})"
    print(f"{title:22}{before:10.3f}{after:10.3f}   x{before / after:.1f}  {spread}", flush=True)
    return ratios


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="python -m benchmarks.jf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", default="480x854,720x1280,1080x1920", help="HxW, with commas")
    parser.add_argument("--frames", type=int, default=24, help="of a video; a mask pair each")
    parser.add_argument("--objects", type=int, default=3, help="in a frame of the PNGs, at most 4")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    sizes = [
        (int(height), int(width))
        for height, _, width in (one.partition("x") for one in options.sizes.split(","))
    ]
    print(f"{'CPU ms a frame':22}{'original':>10}{'ours':>10}   original / ours")
    for size in sizes:
        for calls in (CALLS, 1):
            in_memory(size, options.frames, options.repeats, calls)
    from_files(sizes[0], options.frames, options.objects, options.repeats)


if __name__ == "__main__":
    main()
