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

import numpy as np

from seglm.dataset.pipeline import clip
from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.files import write_mask
from seglm.evaluation.scores.first_mask import mask_of, rejects, truth_of
from seglm.evaluation.scores.iou import count
from seglm.evaluation.scores.results import Result, line_of
from seglm.model.recipe import Recipe
from seglm.utils.answers import Answer
from seglm.utils.types import Clip, Frames, Sample

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


def load_clip(selection: Selection, recipe: Recipe, number: int) -> tuple[Sample, Clip]:
    """A sample with everything that is asked about it, decoded: the same in every process and every run."""
    sample = selection.sample(number)
    return sample, _decoded(sample, recipe, number)


def still_clip(sample: Sample) -> Clip:
    """A still picture with all its targets, decoded; no recipe is needed for that."""
    return clip(sample, frames=Frames(seen=(0,), drawn=(0,)), targets=range(len(sample.targets)))


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
    line = line_of(number, position, sample, sample.targets[position], answer, rejected=no)
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
