"""Ref-DAVIS17 in its official protocol, from expressions that are merged here or from the four annotators' folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from seglm.dataset.frames import read_labels
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import LabelMaps
from seglm.dataset.readers.video_records import ReadVideo
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.scores import davis, ref_davis17
from seglm.evaluation.scores.davis import Numbers
from seglm.evaluation.scores.expressions import Asked
from seglm.evaluation.scores.video_files import Pngs, Predictions
from seglm.evaluation.scores.video_predictions import video_name
from seglm.evaluation.submit.forms import Folder, Merged
from seglm.evaluation.submit.make import check_all_there, masks_of
from seglm.evaluation.submit.table import percent, table
from seglm.utils.types import Sample


def score(selection: Selection, predictions: Predictions, *, missing_is_empty: bool = False) -> str:
    """The table of the four annotators and their mean.

    Raises ValueError that counts and names missing expressions, FileNotFoundError for a missing frame.
    """
    home, samples = _palettes(selection), [selection.sample(number) for number in range(len(selection))]
    is_merged = isinstance(predictions, Pngs) and predictions.has(Asked("anno_0", video_name(samples[0])))
    if not is_merged and not missing_is_empty:
        check_all_there(selection, predictions)
    scores: list[list[davis.VideoScore]] = [[] for _ in range(ref_davis17.ANNOTATIONS)]
    for sample in samples:
        true = list(_numbers(home, sample))
        for folder, of_one in zip(Merged().folders(sample), scores, strict=True):
            shown = _given(predictions, folder, sample) if is_merged else _merged(predictions, folder, sample)
            pairs, objects = zip(shown, true, strict=True), davis.num_objects(true[0])
            of_one.append(davis.unsupervised(video_name(sample), pairs, objects=objects))
    videos = [video_name(sample) for sample in samples]
    of_each = [davis.score(of_one, videos) for of_one in scores]
    rows = {f"annotator {number}": _row(one) for number, one in enumerate(of_each)}
    rows["mean"] = _row(ref_davis17.score(of_each))
    columns = ["objects", "J&F", *(f"{kind} {name}" for kind in "JF" for name in ("mean", "recall", "decay"))]
    return table(f"{selection.name}, official protocol", columns, rows, ref_davis17.CONVENTIONS["official"])


def _row(one: davis.Score) -> Sequence[str]:
    values = [one.jf, *(value for of in (one.j, one.f) for value in (of.mean, of.recall, of.decay))]
    return [str(one.n), *map(percent, values)]


def _palettes(selection: Selection) -> Path:
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


def _merged(predictions: Predictions, folder: Folder, sample: Sample) -> Iterator[Numbers]:
    of_each = (masks_of(sample, target, predictions) for target in folder.targets)
    return map(ref_davis17.merge, zip(*of_each, strict=True))


def _given(predictions: Predictions, folder: Folder, sample: Sample) -> Iterator[Numbers]:
    assert isinstance(predictions, Pngs)
    return predictions.numbers(folder.name, sample.frame_names)
