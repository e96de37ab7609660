"""What a sheet shows of an answer: the picture, or some frames of the video, with the true and the predicted masks."""

from __future__ import annotations

from pathlib import Path

from seglm.evaluation.asking.follow import asked_of, scored_frames
from seglm.evaluation.asking.predict import scored_frame
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.pictures.strip import spread
from seglm.evaluation.scores.files import read_mask
from seglm.evaluation.scores.report import FRAMES, Shown
from seglm.evaluation.scores.results import Said
from seglm.evaluation.scores.video_files import PngFolder, Predictions


def shown(selection: Selection, masks: Path, said: Said) -> Shown:
    """What a line of predictions is about. masks: their folder. Raises FileNotFoundError for a mask that is not there."""
    if selection.is_of_videos:
        return strip_of(selection, PngFolder(masks), said)
    return picture_of(selection, masks / said.file, said)


def picture_of(selection: Selection, mask: Path | None, said: Said) -> Shown:
    """A picture with its true mask and the one in a file; None is an empty one."""
    sample = selection.sample(said.sample)
    picture, truth, ignore = scored_frame(sample, said.target)
    predicted = truth & False if mask is None else read_mask(mask, size=sample.size, key=said.key)
    return [(picture, truth, predicted, ignore)]


def strip_of(selection: Selection, predictions: Predictions, said: Said) -> Shown:
    """Scored frames of an expression, evenly over time."""
    sample = selection.sample(said.sample)
    target = sample.targets[said.target]
    frames = scored_frames(sample, target)
    names = [sample.frame_names[frame] for frame in frames]
    masks = list(predictions.masks(asked_of(sample, target), names, sample.frame_names))
    strip = []
    for place in spread(len(frames), len(FRAMES)):
        picture, truth, _ = scored_frame(sample, said.target, frames[place])
        mask = masks[place]
        strip.append((picture, truth, truth & False if mask is None else mask, None))
    return strip
