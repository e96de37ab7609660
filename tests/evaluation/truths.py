"""Toy videos, and predictions of them that are the truth, for what reads predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seglm.dataset.toy.write_videos import write_videos
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.scores.files import MASKS
from seglm.evaluation.scores.video_predictions import write_frame


def toy_videos(root: Path) -> Path:
    """The smallest world of all seven data sets."""
    write_videos(root, images=40, val_images=8, test_images=10)
    return root


def write_truth(root: Path, spec: str, folder: Path) -> Path:
    """What a run that is right everywhere writes; empty masks where no truth is published."""
    selection = benchmark(spec).open(root)
    for number in range(len(selection)):
        sample = selection.sample(number)
        for target in sample.targets:
            for frame in range(sample.num_frames):
                known = target.is_known(frame)
                mask = target.masks((frame,))[0] if known else np.zeros(sample.size, dtype=np.bool_)
                write_frame(folder / MASKS, sample, target, frame, mask)
    return folder
