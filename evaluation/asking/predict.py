"""Walks a benchmark: pictures in, one answer for each expression out.

Batches are fixed numbers of neighbouring samples and processes take them in turn, so every sample meets the same neighbours
whatever the number of processes, no sample is taken twice, and the outcome is the same to the last bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from seglm.dataset.pipeline import clip
from seglm.evaluation.asking.ask import Asker, mask_of
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.metrics.iou import count
from seglm.evaluation.scores.results import Result, rejects, said
from seglm.model.recipe import Recipe
from seglm.utils.answers import Answer
from seglm.utils.types import Clip, Sample

In = TypeVar("In")
Out = TypeVar("Out")
AHEAD = 2  # batches decoded while the model works on one


def batches(count: int, size: int) -> list[range]:
    """All samples in batches; a process takes every `world.size`-th batch, from its rank on."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def predict(
    ask: Asker,
    selection: Selection,
    recipe: Recipe,
    own: Sequence[range],
    *,
    folder: Path | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> list[Result]:
    """The results of a process's own batches.

    folder: where masks are written, or None. progress: called with the number of samples just done.
    Raises ValueError naming the sample if nothing is asked about it, unless the benchmark leaves such pictures out.
    """
    results: list[Result] = []

    def load(numbers: range) -> list[tuple[int, Sample, Clip]]:
        asked = [(number, selection.sample(number)) for number in numbers]
        return [
            (number, sample, _decoded(sample, recipe, number))
            for number, sample in asked
            if sample.targets or selection.blank == "error"
        ]

    for numbers, loaded in zip(own, _ahead(load, own), strict=True):
        spoken = ask([shown for _, _, shown in loaded]) if loaded else ()
        for (number, sample, shown), answers in zip(loaded, spoken, strict=True):
            for position, answer in enumerate(answers):
                results.append(_result(number, position, sample, shown, answer, folder, recipe))
        progress(len(numbers))
    return results


def truth_of(shown: Clip, position: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """(true mask, ignored pixels) of a target in the first drawn frame, bool [H, W]."""
    return shown.masks[position][0], None if shown.ignore is None else shown.ignore[0]


def scored_frame(
    shown: Clip, position: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_] | None]:
    """(picture, true mask, ignored pixels) of the same frame, uint8 [H, W, 3] and bool [H, W], for a picture of it.

    Copies: a part of an array keeps the whole alive, and a clip has many frames and the masks of all its targets.
    """
    truth, ignore = truth_of(shown, position)
    return shown.drawn[0].copy(), truth.copy(), None if ignore is None else ignore.copy()


def load_clip(selection: Selection, recipe: Recipe, number: int) -> tuple[Sample, Clip]:
    """A sample with everything that is asked about it, decoded: the same in every process and every run."""
    sample = selection.sample(number)
    return sample, _decoded(sample, recipe, number)


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """A mask as a PNG of 0 and 255, lossless. Raises OSError if it cannot be written."""
    grey = mask.astype(np.uint8) * 255
    done, data = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_BILEVEL, 1])
    if not done:
        raise OSError(f"{path}: a mask of {mask.shape} could not be encoded as PNG")
    path.write_bytes(data.tobytes())  # not cv2.imwrite: it returns False instead of saying what went wrong


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A mask from a grey picture: any value above 127 counts as the object, so 0/255 and a scaled copy read the same.

    Raises FileNotFoundError, or ValueError for a picture with neither 0/255 nor 0/1 in it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such mask")
    grey = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ValueError(f"{path} is no picture")
    values = set(np.unique(grey).tolist())
    if not values <= {0, 255} and not values <= {0, 1}:
        raise ValueError(
            f"{path} holds values {sorted(values)[:8]}; a mask holds 0 and 255 (or 0 and 1), saved lossless"
        )
    mask: NDArray[np.bool_] = grey > 0
    return mask


def _decoded(sample: Sample, recipe: Recipe, number: int) -> Clip:
    if not sample.targets:
        raise ValueError(f"{sample.key}: nothing is asked about it, so it cannot be scored; check the split")
    frames = recipe.frames(sample.num_frames, np.random.default_rng(number))
    return clip(sample, frames=frames, targets=range(len(sample.targets)))


def _result(
    number: int,
    position: int,
    sample: Sample,
    shown: Clip,
    answer: Answer,
    folder: Path | None,
    recipe: Recipe,
) -> Result:
    mask = mask_of(answer, shown.size)
    no = rejects(answer, mask, token=recipe.reject_token)
    line = said(number, position, sample, sample.targets[position], answer, rejected=no)
    if folder is not None:
        write_mask(folder / line.file, mask)
    truth, ignore = truth_of(shown, position)
    return Result(line, count(mask, truth, ignore=ignore))


def _ahead(work: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """`map` in one thread that runs at most AHEAD items in front; errors come out where the item would have."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Out]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
