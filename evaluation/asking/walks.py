"""Frames along the walks of some samples: what was said in each window is drawn in its frames, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from seglm.dataset.pipeline import picture
from seglm.dataset.pixels import decoder_pixels
from seglm.evaluation.asking.turns import Seat
from seglm.utils.answers import Drawn, Spoken
from seglm.utils.types import Sample

if TYPE_CHECKING:
    from seglm.model.draw import Asked
    from seglm.model.segmenter import Segmenter


@dataclass(frozen=True)
class _Course:
    """The walk that a sample is on."""

    number: int = 0
    """of the walks that set out anew"""
    origin: int = 0
    """frame that it set out from"""
    before: int | None = None
    """the one that the walk before it set out from, whose answers stand"""

    def anew(self, frame: int) -> _Course:
        return _Course(self.number + 1, frame, self.origin if self.number else None)


def walked(
    model: Segmenter, samples: Sequence[Sample], said: Iterable[tuple[Seat, Sequence[Spoken]]]
) -> Iterator[Drawn]:
    """The frames that these windows ask for, with what was said in each; then those that are drawn by what is remembered.

    A frame that two walks set out from comes once, as the first of them drew it.
    """
    from seglm.model.draw import draw

    places: deque[tuple[int, int] | None] = deque()

    def frames() -> Iterator[Asked]:
        courses = [_Course() for _ in samples]
        for seat, spoken in said:
            window = seat.window
            if window.begins:
                courses[seat.sample] = courses[seat.sample].anew(window.asked[0])
            course = courses[seat.sample]
            for frame in (*window.asked, *window.drawn):
                is_known = frame == course.origin == course.before
                places.append(None if is_known else (seat.sample, frame))
                yield replace(
                    _asked(model, samples[seat.sample], frame, tuple(spoken)),
                    walk=(seat.sample, course.number),
                    frame=abs(frame - course.origin),
                    is_said=frame in window.asked,
                )

    with evaluating(model):
        for answers in draw(model, frames()):
            if (place := places.popleft()) is not None:
                yield Drawn(*place, answers)


@contextmanager
def evaluating(model: Segmenter) -> Iterator[None]:
    """Inside, the model does not train."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _asked(model: Segmenter, sample: Sample, frame: int, spoken: tuple[Spoken, ...]) -> Asked:
    import torch

    from seglm.model.draw import Asked

    pixels, resized = decoder_pixels(
        picture(sample, frame),
        model.decoder.image_size,
        mode=model.recipe.data.pixels,
        stretched=model.recipe.decoder.stretches,
    )
    return Asked(torch.from_numpy(pixels), resized, sample.size, spoken, num_frames=sample.num_frames)
