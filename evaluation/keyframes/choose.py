"""What a selector says of every frame, and which frame of each expression is then the key frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seglm.evaluation.asking.ask import asker
from seglm.evaluation.scores.video_predictions import video_name
from seglm.utils.types import Sample

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter


@dataclass(frozen=True)
class Chosen:
    """The key frame of an expression."""

    video: str
    """as the data set calls it"""
    expression: str
    frame: int
    name: str
    """of the frame"""
    scores: tuple[float, ...]
    """of all frames: estimates of IoU"""


def check_selector(model: Segmenter) -> None:
    """Raises ValueError for a model that scores nothing."""
    if not model.recipe.score_token:
        raise ValueError(
            f"--version: recipe {model.recipe.name} draws masks and scores no frame; give a trained glus_key, or "
            "with --predictions the masks that this model has drawn"
        )


def scores_of(model: Segmenter, sample: Sample) -> list[list[float]]:
    """For each target the score of every frame; the answer is given, so one number is read a frame and target."""
    found: list[dict[int, float]] = [{} for _ in sample.targets]
    for drawn in asker(model, protocol="forced", max_new_tokens=1)([sample]):
        for position, answer in enumerate(drawn.answers):
            [found[position][drawn.frame]] = answer.spoken.values
    return [[own[frame] for frame in range(sample.num_frames)] for own in found]


def choose(model: Segmenter, sample: Sample) -> Iterator[Chosen]:
    """For each target the frame with the highest score, the first of several."""
    for target, scores in zip(sample.targets, scores_of(model, sample), strict=True):
        frame = best_of(scores)
        name = sample.frame_names[frame]
        yield Chosen(video_name(sample), target.key, frame, name, tuple(scores))


def best_of(scores: Sequence[float]) -> int:
    """The place of the highest, the first of several."""
    return max(range(len(scores)), key=scores.__getitem__)
