"""Ref-DAVIS17 in its official protocol: all objects of an annotator are merged into one map, which DAVIS scores as unsupervised.

Each object has four expressions: by two annotators, each of whom saw first one frame and then the whole video. Expression
4 k + a speaks of the k-th object in the words of `a`. For each `a`, the objects' masks compete for every pixel; the four
scores are averaged (ReferFormer at 06fc218, inference_davis.py and eval_davis.py; evaluation/davis of VideoLISA at 146f2bc is
equal). VISA, GLUS and Sa2VA score each expression alone, against its object, with void as background: that is
`expressions.score`, a higher or a lower number, and no official one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seglm.evaluation.scores.davis import Numbers, Score, mean_of
from seglm.utils.types import Sample, Target

Protocol = Literal["official", "per-expression"]
CONVENTIONS: Mapping[Protocol, str] = {
    "official": "Ref-DAVIS17, official: objects merged, DAVIS-2017 unsupervised, mean of the four annotators",
    "per-expression": "Ref-DAVIS17, per expression as in VISA, GLUS and Sa2VA: one object each, void is background; not official",
}
ANNOTATIONS = 4  # of an object
BACKGROUND = 0.1  # probability that every object has to exceed
LEAST = 0.5  # probability below which a pixel is no object's
OWN = "videos of your own are scored expression by expression: `evaluation.run` or `evaluation.offline` without --convention"


def object_and_annotation(expression: int) -> tuple[int, int]:
    """(object, annotation), from 0, that an expression of a video speaks of; its number from 0."""
    return divmod(expression, ANNOTATIONS)


def by_annotator(sample: Sample) -> tuple[tuple[Target, ...], ...]:
    """For each annotator the expressions about a video, in the order of their objects.

    Raises ValueError if an expression has no number, or if the annotators do not speak of the same objects.
    """
    of: list[list[tuple[int, Target]]] = [[] for _ in range(ANNOTATIONS)]
    for target in sample.targets:
        if not target.key.isdecimal():
            raise ValueError(
                f"{sample.key}: expression {target.key!r} has no number, by which its object and annotator are known; {OWN}"
            )
        number, annotation = object_and_annotation(int(target.key))
        of[annotation].append((number, target))
    there = [sorted(number for number, _ in some) for some in of]
    if there != [list(range(len(there[0])))] * ANNOTATIONS:
        raise ValueError(
            f"{sample.key}: annotators speak of {[len(some) for some in there]} objects; each speaks of all, "
            f"in the expressions 4 k + a from 0 on; {OWN}"
        )
    return tuple(tuple(target for _, target in sorted(some, key=_first)) for some in of)


def merge(objects: Sequence[NDArray[np.bool_] | NDArray[np.floating]]) -> Numbers:
    """uint8 [H, W]: which object a pixel belongs to, from 1 on, 0 for none; of equally probable ones the first has it.

    objects: [H, W] each, bool masks or probabilities, 0 to 1; their order is the objects'.
    Raises ValueError if there is none, or more than a byte can number, or sizes differ.
    """
    if not 0 < len(objects) < 255:
        raise ValueError(f"{len(objects)} objects to merge; permitted are 1 to 254")
    if len({one.shape for one in objects}) != 1:
        raise ValueError(
            f"objects of the sizes {[one.shape for one in objects]} cannot be merged; all are of one frame"
        )
    best = np.full(objects[0].shape, BACKGROUND)
    owner = np.zeros(objects[0].shape, dtype=np.uint8)
    for number, one in enumerate(objects, start=1):
        wins = (one >= LEAST) & (one > best)
        owner[wins], best[wins] = number, one[wins]
    return owner


def folder_of(annotation: int) -> str:
    """What the folder of an annotator's merged maps is called."""
    return f"anno_{annotation}"


def score(annotations: Sequence[Score]) -> Score:
    """The mean of the scores of each annotation's merged maps. Raises ValueError if these are not four of as many objects."""
    if len(annotations) != ANNOTATIONS or len({one.n for one in annotations}) != 1:
        raise ValueError(
            f"{len(annotations)} scores of {[one.n for one in annotations]} objects; Ref-DAVIS17 has {ANNOTATIONS} "
            "annotations of the same objects"
        )
    j, f = (mean_of([getattr(one, name) for one in annotations]) for name in "jf")
    return Score(j, f, float(np.mean([one.jf for one in annotations])), annotations[0].n)


def _first(pair: tuple[int, Target]) -> int:
    return pair[0]
