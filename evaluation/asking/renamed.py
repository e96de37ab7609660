"""Predictions that are called by the folder of the true masks and not by the video.

ReasonVOS keeps the masks of each object in a folder SOURCE_VIDEO_OBJECT, and VideoLISA's script writes an expression's
predictions to SOURCE_VIDEO_OBJECT/EXPRESSION (evaluation/reason_vos/inference_reason_vos.py of showlab/VideoLISA at 146f2bc);
GLUS has VIDEO/EXPRESSION, as all other sets do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import LabelMaps
from seglm.dataset.readers.video_records import ReadVideo
from seglm.evaluation.asking.follow import asked_of
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores.expressions import Asked
from seglm.evaluation.scores.video_files import Mask, Predictions


@dataclass(frozen=True)
class Renamed:
    """Predictions, some of which have another name."""

    predictions: Predictions
    names: Mapping[Asked, Asked]

    def has(self, asked: Asked) -> bool:
        """See `Predictions`."""
        return self.predictions.has(self.names.get(asked, asked))

    def masks(self, asked: Asked, frames: Sequence[str], every: Sequence[str] = ()) -> Iterator[Mask | None]:
        """See `Predictions`."""
        return self.predictions.masks(self.names.get(asked, asked), frames, every)


def renamed(predictions: Predictions, selection: Selection) -> Predictions:
    """The same predictions, found by either name; themselves if the set's masks have no folder of an object."""
    source = selection.source
    if not (isinstance(source, Stills) and isinstance(source.read, ReadVideo)):
        return predictions
    if not (isinstance(source.read.masks, LabelMaps) and source.read.masks.is_sparse):
        return predictions
    names = {}
    for number in range(len(selection)):
        record, sample = source.index.record(number), selection.sample(number)
        for target, one in zip(sample.targets, record["expressions"], strict=True):
            asked = asked_of(sample, target)
            for folder, _ in one["things"]:
                other = replace(asked, video=folder)
                if not predictions.has(asked) and predictions.has(other):
                    names[asked] = other
    return Renamed(predictions, names)
