"""An expression of a video, frame by frame as its answers come: masks are counted and written, and nothing of a frame is kept but
a few numbers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

from seglm.evaluation.scores.expressions import Asked, Track, track
from seglm.evaluation.scores.first_mask import Mask, mask_of, rejects
from seglm.evaluation.scores.regions import FrameCounts, count_frame
from seglm.evaluation.scores.results import Result, line_of
from seglm.evaluation.scores.video_predictions import expression_folder, video_name, write_frame
from seglm.utils.answers import Answer
from seglm.utils.types import Sample, Target

BETWEEN = " | "  # other words about other frames


class Followed:
    """One expression.

    number: of the sample in the benchmark; position: of the target in the sample. token: see `first_mask.rejects`. folder: where
    masks are written, or None.
    """

    def __init__(self, number: int, position: int, sample: Sample, token: str, folder: Path | None) -> None:
        self.number, self.position, self.sample = number, position, sample
        self.target = sample.targets[position]
        self.token = token
        self.folder = folder
        self._first: Answer | None = None  # without masks and prompts
        self._texts: dict[str, None] = {}
        self._slots, self._rejected, self._confidences = 0, True, list[float]()
        self._counts: dict[int, FrameCounts] = {}

    def see(self, frame: int, answer: Answer, true: Mask | None) -> None:
        """The answer about the next frame, in whatever order frames come; true: the mask there, None where none is published."""
        mask = mask_of(answer, self.sample.size)
        if self.folder is not None:
            write_frame(self.folder, self.sample, self.target, frame, mask)
        if true is not None:
            # What a data set wants ignored is background here, as in the originals' scores of expressions.
            self._counts[frame] = count_frame(mask, true)
        if self._first is None or (answer.spoken.tokens and not self._first.spoken.tokens):
            self._first = Answer(replace(answer.spoken, prompts=()))
        self._texts[answer.spoken.text] = None
        self._slots = max(self._slots, len(answer.spoken.tokens))
        self._rejected = self._rejected and rejects(answer, mask, token=self.token)
        self._confidences += answer.scores[:1]

    def result(self) -> Result:
        """What was said and measured, when every frame was seen. Raises ValueError if none was."""
        if self._first is None:
            raise ValueError(f"{self.sample.key} {self.target.key}: no frame of it was answered")
        line = line_of(
            self.number, self.position, self.sample, self.target, self._first, rejected=self._rejected
        )
        line = replace(
            line,
            answer=BETWEEN.join(text for text in self._texts if text),
            slots=self._slots,
            confidence=fmean(self._confidences) if self._confidences else None,
            file=expression_folder(self.sample, self.target),
        )
        return Result(line, self._track())

    def _track(self) -> Track:
        asked = asked_of(self.sample, self.target)
        if not self._counts:
            return Track(asked, 0.0, 0.0, 0, not self._rejected)
        return track(asked, (self._counts[frame] for frame in sorted(self._counts)))


def asked_of(sample: Sample, target: Target) -> Asked:
    """An expression as the scores of videos name it."""
    return Asked(video_name(sample), target.key, target.kind, not target.objects)


def scored_frames(sample: Sample, target: Target) -> list[int]:
    """All frames of a video that do."""
    return [frame for frame in range(sample.num_frames) if target.is_known(frame)]
