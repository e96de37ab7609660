"""What is in a picture or a video, asked for or not: in the toy world everything, elsewhere what the targets tell.

Letters: N things, H W original pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from seglm.dataset.masks import Mask
from seglm.dataset.pipeline import truth
from seglm.dataset.toy.clips import seen
from seglm.dataset.toy.scenes import visible_masks
from seglm.dataset.toy.write import read_manifest, scene_of
from seglm.dataset.toy.write_videos import read_video_manifest, take_of
from seglm.evaluation.asking.selection import Selection
from seglm.utils.types import Sample, Target

Objects = Callable[[Sample, int], Mask]
"""a sample and a frame of it -> bool [N, H, W], everything that can be seen in it; in a video a thing keeps its number, and its
mask is empty where it is not seen"""
REMEMBERED = 4  # takes: a video is gone through frame by frame


def objects_of(selection: Selection, dataset_dir: Path) -> Objects:
    """What is in the pictures or videos of a benchmark: the scene itself in a toy world, else their different targets.

    Raises ValueError where the targets do not tell, as in ReasonSeg, whose pictures have one.
    """
    if read_manifest(dataset_dir) is not None or read_video_manifest(dataset_dir) is not None:
        return in_toy_world(dataset_dir)
    if all(len(selection.source.sample(number).targets) < 2 for number in range(len(selection.source))):
        raise ValueError(
            f"{selection.name}: a picture has one target, which does not tell what else is in it; predictors that do not read "
            "the words need the toy world, or a set with several targets a picture, as the RefCOCO family"
        )
    return lambda sample, frame: (_apart_by_name if sample.frame_names else _apart_by_mask)(sample, frame)


def in_toy_world(dataset_dir: Path) -> Objects:
    """Everything in the toy world's pictures and videos. Whoever calls it gets ValueError for a sample of another world."""
    take = lru_cache(REMEMBERED)(lambda name: take_of(dataset_dir, name))

    def objects(sample: Sample, frame: int) -> Mask:
        if sample.frame_names:
            return seen(take(Path(sample.path).name).clip.scenes[frame])
        return visible_masks(scene_of(dataset_dir, Path(sample.path)))

    return objects


def known_truth(sample: Sample, target: Target, frame: int) -> Mask:
    """The true mask in a frame, bool [H, W]; empty where none is published, as no metric looks there. Raises Fault."""
    if not target.is_known(frame):
        return no_mask(sample)
    return np.asarray(truth(sample, target, (frame,))[0])


def no_mask(sample: Sample) -> Mask:
    """bool [H, W], all False."""
    return np.zeros(sample.size, dtype=np.bool_)


def _apart_by_mask(sample: Sample, frame: int) -> Mask:
    """The different masks among a picture's targets, without those that have another one inside.

    Several expressions may mean the same thing, one several things (its mask is their union), and one nothing at all.
    """
    every = [truth(sample, target, (frame,))[0] for target in sample.targets]
    apart = list({mask.tobytes(): mask for mask in every if mask.any()}.values())
    single = [
        one for one in apart if not any(other is not one and not (other & ~one).any() for other in apart)
    ]
    return _stack(sample, single)


def _apart_by_name(sample: Sample, frame: int) -> Mask:
    """A video's targets by the names of their things, without those that have another one among theirs.

    A thing is the same in all frames, also where its mask is another one's, or empty.
    """
    named: dict[frozenset[str], Target] = {}
    for target in sample.targets:
        if target.objects:
            named.setdefault(frozenset(target.objects), target)
    single = [target for names, target in named.items() if not any(other < names for other in named)]
    return _stack(sample, [known_truth(sample, target, frame) for target in single])


def _stack(sample: Sample, masks: list[Mask]) -> Mask:
    return np.stack(masks) if masks else np.zeros((0, *sample.size), dtype=np.bool_)
