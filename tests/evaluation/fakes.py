"""A benchmark in memory and a model that says what it is told to, so that evaluation is tested without weights or files."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from seglm.dataset.description import Scored
from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.asking.benchmark import Benchmark
from seglm.utils.answers import Answer, Drawn, Spoken
from seglm.utils.prediction import FramePrediction, seen
from seglm.utils.types import Sample, Target

HEIGHT, WIDTH = 24, 32
KINDS = ("attribute", "reasoning")


def rectangle(top: int, left: int, height: int = 8, width: int = 10) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[top : top + height, left : left + width] = True
    return mask


class FakeSource:
    """`count` pictures, each with two targets; every third has ignored pixels, every fourth a target without referent."""

    name = "ReasonSeg|val"
    family = "reason_seg"

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def keys(self) -> Iterator[str]:
        return (self.sample(index).key for index in range(self.count))

    def sample(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        masks = [rectangle(int(rng.integers(14)), int(rng.integers(20))) for _ in KINDS]
        if index % 4 == 3:
            masks[1] = np.zeros_like(masks[1])
        ignored = rectangle(0, 0, 3, 32)
        return Sample(
            key=f"{self.name}/{index:03d}",
            size=(HEIGHT, WIDTH),
            frame=lambda number: picture,
            targets=tuple(
                Target(
                    texts=(f"thing {number} of picture {index}", f"the same, otherwise put ({number})"),
                    masks=lambda frames, mask=mask: np.stack([mask for _ in frames]),
                    is_sentence=index % 2 == 0,
                    kind=KINDS[number],
                    key=str(10 * index + number),
                )
                for number, mask in enumerate(masks)
            ),
            ignore=(lambda frames: np.stack([ignored for _ in frames])) if index % 3 == 0 else None,
        )


def answered(mask: NDArray[np.bool_] | None, text: str = "It is [SEG].", slots: int = 1) -> Answer:
    """An answer whose masks are `mask`, or one in words only."""
    if mask is None:
        return Answer(Spoken("I do not know.", (5, 2), "no_seg_token"))
    logits = torch.from_numpy(np.where(mask, 3.0, -3.0)).float()
    return Answer(Spoken(text, (1, 2), "ok", ("[SEG]",) * slots), (logits,) * slots, (0.9,) * slots)


def predicted(
    mask: NDArray[np.bool_] | None, text: str = "It is [SEG].", slots: int = 1, frame: int = 0
) -> FramePrediction:
    """The same as who asks in Python gets it."""
    return seen(frame, answered(mask, text, slots), (HEIGHT, WIDTH) if mask is None else mask.shape[:2])  # type: ignore[arg-type]


def saying(say: Callable[[Sample, int, NDArray[np.bool_]], Answer]) -> Asker:
    """An asker by what it says of (a sample, the number of a target, its true mask bool [H, W])."""

    def ask(samples: Sequence[Sample]) -> Iterator[Drawn]:
        for number, sample in enumerate(samples):
            answers = (say(sample, k, target.masks((0,))[0]) for k, target in enumerate(sample.targets))
            yield Drawn(number, 0, tuple(answers))

    return ask


def _near(sample: Sample, number: int, mask: NDArray[np.bool_]) -> Answer:
    luck = zlib.crc32(f"{sample.key} {number}".encode()) % 6
    return answered(np.roll(mask, luck - 2, axis=1) if luck else None, slots=1 + (luck == 5))


near_the_truth = saying(_near)
"""The truth, moved by some pixels; one in six answers is in words only."""


BENCHMARK = Benchmark("fake|val", "fake|val", texts="first", rule="one expression a target", scored=Scored())


def palette(folder: Path, name: str, *objects: NDArray[np.bool_], numbers: Sequence[int] = (1, 2)) -> Path:
    """A PNG of numbered objects."""
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, mask in zip(numbers, objects, strict=False):
        values[mask] = number
    image = Image.fromarray(values, mode="P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    image.save(folder / name)
    return folder / name
