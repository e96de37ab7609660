"""Goes through a benchmark: samples in, one result for each expression out.

Batches are fixed numbers of neighbouring samples and processes take them in turn, so every sample meets the same neighbours
whatever the number of processes, no sample is taken twice, and the outcome is the same to the last bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.pipeline import ignored, picture, truth
from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.asking.follow import Followed
from seglm.evaluation.asking.parts import Parts
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.files import write_mask
from seglm.evaluation.scores.first_mask import Mask, mask_of, rejects
from seglm.evaluation.scores.iou import count
from seglm.evaluation.scores.results import Result, line_of
from seglm.model.recipe import Recipe
from seglm.utils.answers import Drawn
from seglm.utils.types import Sample

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
    parts: Parts | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> list[Result]:
    """The results of a process's own batches.

    folder: where masks are written, or None. parts: where finished batches are kept; those that are there are not asked again.
    progress: called with the number of samples just done.
    Raises ValueError naming the sample if nothing is asked about it, unless the benchmark leaves such pictures out.
    """
    done = {numbers: parts.read(numbers) if parts else None for numbers in own}
    results = [result for part in done.values() for result in part or ()]
    for numbers, part in done.items():
        if part is not None:
            progress(len(numbers))
    left = [numbers for numbers, part in done.items() if part is None]

    def load(numbers: range) -> list[tuple[int, Sample]]:
        asked = [(number, selection.sample(number)) for number in numbers]
        for _, sample in asked:
            if not sample.targets and selection.blank == "error":
                raise ValueError(
                    f"{sample.key}: nothing is asked about it, so it cannot be scored; check the split"
                )
        return [(number, decoded(sample)) for number, sample in asked if sample.targets]

    for numbers, loaded in zip(left, _ahead(load, left), strict=True):
        answers = ask([sample for _, sample in loaded]) if loaded else iter(())
        fresh = (_videos if selection.is_of_videos else _pictures)(answers, loaded, folder, recipe)
        if parts is not None:
            parts.write(numbers, fresh)
        results += fresh
        progress(len(numbers))
    return results


def decoded(sample: Sample) -> Sample:
    """A picture with its pixels and everything true about it decoded; a video as it is, its frames come one by one."""
    if sample.num_frames > 1:
        return sample
    pixels, ignore = picture(sample, 0), ignored(sample, (0,))
    # Texts about one thing share its mask.
    masks = {id(target.masks): truth(sample, target, (0,)) for target in sample.targets}
    return replace(
        sample,
        frame=lambda _: pixels,
        targets=tuple(replace(target, masks=_held(masks[id(target.masks)])) for target in sample.targets),
        ignore=None if ignore is None else _held(ignore),
    )


def _held(masks: NDArray[np.bool_]) -> Callable[[Sequence[int]], NDArray[np.bool_]]:
    return lambda frames: masks[list(frames)]


def truth_of(sample: Sample, position: int, frame: int = 0) -> tuple[Mask, Mask | None]:
    """(true mask, ignored pixels) of a target in a frame, bool [H, W]. Raises Fault."""
    ignore = ignored(sample, (frame,))
    return truth(sample, sample.targets[position], (frame,))[0], None if ignore is None else ignore[0]


def scored_frame(
    sample: Sample, position: int, frame: int = 0
) -> tuple[NDArray[np.uint8], Mask, Mask | None]:
    """(picture, true mask, ignored pixels) of the same frame, uint8 [H, W, 3] and bool [H, W], for a picture of it."""
    return picture(sample, frame), *truth_of(sample, position, frame)


def _pictures(
    answers: Iterator[Drawn], loaded: Sequence[tuple[int, Sample]], folder: Path | None, recipe: Recipe
) -> list[Result]:
    """Every answer is a result."""
    results = []
    for drawn in answers:
        number, sample = loaded[drawn.sample]
        for position, answer in enumerate(drawn.answers):
            mask = mask_of(answer, sample.size)
            no = rejects(answer, mask, token=recipe.reject_token)
            line = line_of(number, position, sample, sample.targets[position], answer, rejected=no)
            if folder is not None:
                write_mask(folder / line.file, mask)
            true, ignore = truth_of(sample, position, drawn.frame)
            results.append(Result(line, count(mask, true, ignore=ignore)))
    return results


def _videos(
    answers: Iterator[Drawn], loaded: Sequence[tuple[int, Sample]], folder: Path | None, recipe: Recipe
) -> list[Result]:
    """An expression is a result when all frames are drawn."""
    followed = {
        (place, position): Followed(number, position, sample, recipe.reject_token, folder)
        for place, (number, sample) in enumerate(loaded)
        for position in range(len(sample.targets))
    }
    for drawn in answers:
        _, sample = loaded[drawn.sample]
        masks: dict[int, Mask] = {}  # expressions about one thing share its mask
        for position, answer in enumerate(drawn.answers):
            target, true = sample.targets[position], None
            if target.is_known(drawn.frame):
                if id(target.masks) not in masks:
                    masks[id(target.masks)] = truth(sample, target, (drawn.frame,))[0]
                true = masks[id(target.masks)]
            followed[drawn.sample, position].see(drawn.frame, answer, true)
    return [one.result() for one in followed.values()]


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
