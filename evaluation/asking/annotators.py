"""Ref-DAVIS17 in its official protocol, from masks of expressions that are merged here, or from the four annotators' folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from seglm.dataset.frames import read_labels
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import LabelMaps
from seglm.dataset.readers.video_records import ReadVideo
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.asking.written import masks_of
from seglm.evaluation.scores import davis, ref_davis17
from seglm.evaluation.scores.davis import Numbers
from seglm.evaluation.scores.expressions import Asked
from seglm.evaluation.scores.video_files import Pngs, Predictions
from seglm.evaluation.scores.video_predictions import video_name
from seglm.utils.types import Sample, Target


@dataclass(frozen=True)
class Annotators:
    """The score of a video in the words of each of them, by its number; an expression without a prediction is empty masks."""

    selection: Selection
    predictions: Predictions

    def __call__(self, number: int) -> Sequence[davis.VideoScore]:
        """Raises FileNotFoundError for a missing frame, ValueError for masks of another size."""
        sample = self.selection.sample(number)
        true = list(_numbers(check_palettes(self.selection), sample))
        objects, found = davis.num_objects(true[0]), []
        for annotator, targets in enumerate(ref_davis17.by_annotator(sample)):
            shown = self._given(annotator, sample) if self.is_merged else self._merged(targets, sample)
            found.append(
                davis.unsupervised(video_name(sample), zip(shown, true, strict=True), objects=objects)
            )
        return found

    @cached_property
    def is_merged(self) -> bool:
        """Whether the annotators' maps lie there, instead of masks of expressions."""
        first = Asked(ref_davis17.folder_of(0), video_name(self.selection.sample(0)))
        return isinstance(self.predictions, Pngs) and self.predictions.has(first)

    def _merged(self, targets: Sequence[Target], sample: Sample) -> Iterator[Numbers]:
        of_each = (masks_of(sample, target, self.predictions) for target in targets)
        return map(ref_davis17.merge, zip(*of_each, strict=True))

    def _given(self, annotator: int, sample: Sample) -> Iterator[Numbers]:
        assert isinstance(self.predictions, Pngs)
        folder = f"{ref_davis17.folder_of(annotator)}/{video_name(sample)}"
        return self.predictions.numbers(folder, sample.frame_names)


def of_each_annotator(videos: Sequence[Sequence[davis.VideoScore]]) -> list[davis.Score]:
    """The four scores. videos: what `Annotators` gives, in the order of the benchmark."""
    names = [annotators[0].video for annotators in videos]
    return [davis.score(of_one, names) for of_one in zip(*videos, strict=True)]


def check_official(selection: Selection) -> None:
    """Raises ValueError if the data cannot be scored so: truth of another kind, or not four expressions of each object."""
    check_palettes(selection)
    for number in range(len(selection)):
        ref_davis17.by_annotator(selection.sample(number))


def check_palettes(selection: Selection) -> Path:
    """The folder of the true palettes. Raises ValueError if the truth is VISA's run lengths, which know no void pixels."""
    source = selection.source
    if (
        isinstance(source, Stills)
        and isinstance(source.read, ReadVideo)
        and isinstance(source.read.masks, LabelMaps)
    ):
        return source.read.masks.home
    raise ValueError(
        f"{selection.name}: its masks are no palette PNGs, which the official protocol needs (they know which pixels are void); "
        "`python -m seglm.dataset.davis` makes them of DAVIS, or score expression by expression: seglm.evaluation.offline"
    )


def _numbers(home: Path, sample: Sample) -> Iterator[Numbers]:
    folder = home / video_name(sample)
    return (read_labels(folder / f"{name}.png", sample.key) for name in sample.frame_names)
