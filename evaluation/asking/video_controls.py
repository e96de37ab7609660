"""Controls of a score on videos that pictures have no use for: what is decided once and kept, and what one frame tells.

As those of `controls`, each is an `Asker`, or what a model's LLM is shown instead (`asker(sees=)`).
Letters: N things, T frames, H W original pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from seglm.dataset.masks import Mask
from seglm.dataset.toy.clips import seen
from seglm.dataset.toy.still_frame import guess
from seglm.dataset.toy.write_videos import read_video_manifest, take_of
from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.asking.controls import drawing
from seglm.evaluation.asking.things import Objects, known_truth, no_mask
from seglm.utils.types import Sample


def of_videos(objects: Objects, dataset_dir: Path) -> dict[str, Asker]:
    """Name -> what is asked about videos besides the controls of pictures."""
    found = {
        "largest object of the first frame, kept (text-blind)": largest_at_first(objects),
        "object that moves most (text-blind)": moves_most(objects),
    }
    if read_video_manifest(dataset_dir) is not None:
        found["one frame, all looks known (oracle)"] = still_frame(dataset_dir)
    return found


# ---- predictors that never read the words ----------------------------------------------------------------------------
def largest_at_first(objects: Objects) -> Asker:
    """The object with the most visible pixels in the first frame that shows any, kept through the whole video."""

    def choose(sample: Sample) -> int | None:
        for frame in range(sample.num_frames):
            areas = objects(sample, frame).sum(axis=(1, 2))
            if areas.any():
                return int(areas.argmax())
        return None

    return _kept(objects, choose)


def moves_most(objects: Objects) -> Asker:
    """The object whose visible part travels the longest way from frame to frame, in the whole video."""

    def choose(sample: Sample) -> int | None:
        ways, before = np.zeros(0), np.zeros((0, 2))
        for frame in range(sample.num_frames):
            now = _middles(objects(sample, frame))
            if not frame:
                ways = np.zeros(len(now))
            else:
                ways += np.nan_to_num(np.linalg.norm(now - before, axis=1))
            before = now
        return int(ways.argmax()) if len(ways) else None

    return _kept(objects, choose)


# ---- one frame -------------------------------------------------------------------------------------------------------
def still_frame(dataset_dir: Path) -> Asker:
    """Who sees the middle frame of a toy video alone, knows all looks, and follows what it chose without a mistake.

    What is said of looks is right; what is said of motion and order is a guess among those whose looks fit. See
    `seglm.dataset.toy.still_frame`. Whoever asks gets ValueError for a video that is of no toy world under `dataset_dir`.
    """

    def of(sample: Sample) -> Callable[[int], Sequence[Mask]]:
        take = take_of(dataset_dir, Path(sample.path).name)
        chosen = [guess(take, target.texts[0]) for target in sample.targets]

        def masks(frame: int) -> list[Mask]:
            there = seen(take.clip.scenes[frame])
            return [
                known_truth(sample, target, frame)
                if things is None
                else np.asarray(there[list(things)].any(axis=0))
                for target, things in zip(sample.targets, chosen, strict=True)
            ]

        return masks

    return drawing(of)


def frozen(sample: Sample) -> Sample:
    """The sample with its middle frame in all frames: what is left to an LLM that sees it is what does not move."""
    middle = sample.num_frames // 2
    return replace(sample, frame=lambda _: sample.frame(middle))


def _kept(objects: Objects, choose: Callable[[Sample], int | None]) -> Asker:
    """One thing for all targets of a sample, in all its frames."""

    def of(sample: Sample) -> Callable[[int], Sequence[Mask]]:
        number = choose(sample)
        return lambda frame: (
            [no_mask(sample) if number is None else objects(sample, frame)[number]] * len(sample.targets)
        )

    return drawing(of)


def _middles(masks: Mask) -> np.ndarray:
    """Where each of bool [N, H, W] lies: float [N, 2], (x, y), pixels; nan for an empty one."""
    found = np.full((len(masks), 2), np.nan)
    for number, mask in enumerate(masks):
        if mask.any():
            rows, columns = np.nonzero(mask)
            found[number] = columns.mean(), rows.mean()
    return found
