"""A benchmark of videos in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.description import Scored
from seglm.dataset.readers.refer import NO_TARGET
from seglm.evaluation.asking.benchmark import Benchmark
from seglm.utils.types import Sample, Target
from tests.evaluation.fakes import HEIGHT, WIDTH, rectangle

FRAMES, VIDEOS = 5, 3
NAMES = tuple(f"{10 * number:05d}" for number in range(FRAMES))
KNOWN = (0, 2, 4)  # the frames of the first expression that have a truth
VIDEO = Benchmark(
    "films|val",
    "films|val",
    texts="all",
    rule="one expression a target",
    scored=Scored(conventions=("every", "found"), served=("test",)),
)


def place(video: int, position: int, frame: int) -> NDArray[np.bool_]:
    """The true mask: something that moves; the third expression of a video means nothing."""
    if position == 2:
        return np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    return rectangle(2 + video + position, 2 * frame + 3 * position)


class Films:
    """Videos of five frames, each with three expressions."""

    name, family = "films|val", "ref_vos"

    def __len__(self) -> int:
        return VIDEOS

    def keys(self) -> Iterator[str]:
        return (self.sample(index).key for index in range(VIDEOS))

    def sample(self, index: int) -> Sample:
        def masks(position: int) -> Target:
            return Target(
                texts=(f"thing {position}",),
                masks=lambda frames: np.stack([place(index, position, frame) for frame in frames]),
                kind=("motion", "order", NO_TARGET)[position],
                key=str(position),
                known_frames=KNOWN if position == 0 else None,
                objects=() if position == 2 else (str(position),),
            )

        picture = np.full((HEIGHT, WIDTH, 3), 20 * index, dtype=np.uint8)
        return Sample(
            key=f"films|val/shelf/{index}",
            size=(HEIGHT, WIDTH),
            frame=lambda number: picture,
            num_frames=FRAMES,
            targets=tuple(masks(position) for position in range(3)),
            frame_names=NAMES,
        )
