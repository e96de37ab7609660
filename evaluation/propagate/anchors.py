"""The frames that a recipe draws itself where a propagator draws the others.

`first` is the first frame. `uniform` are five from the first to the last, as Sa2VA-i takes them (arXiv 2509.19082, section 3).
`keyframe` is one of these five for each thing: the one whose mask the decoder itself estimates to be the best. Any other frame
is said by its number: a key frame that a selector has chosen (`evaluation/keyframes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from seglm.model.recipe import Recipe
from seglm.utils.types import Window

Anchors = Literal["uniform", "keyframe", "first"]
UNIFORM = 5  # frames


def anchors_of(num_frames: int, anchors: Anchors | int) -> tuple[int, ...]:
    """Numbers of the frames, ascending."""
    if isinstance(anchors, int):
        return (anchors,)
    if anchors == "first":
        return (0,)
    return tuple(sorted({round(float(place)) for place in np.linspace(0, num_frames - 1, UNIFORM)}))


def asking_anchors(recipe: Recipe, anchors: Anchors | int) -> Recipe:
    """The recipe with a walk that asks for these frames only; windows that ask for none of them are left out.

    A walk in which a frame depends on those before it, by what was answered or by what the mask decoder remembers, stays whole;
    but where it may set out from any frame, a single anchor is all that it draws.
    """
    if recipe.outwards is not None and isinstance(anchors, int):
        return replace(recipe, walk=partial(_first_window, recipe.outwards, anchors))
    if recipe.decoder.memory is not None:
        return recipe
    return replace(recipe, walk=partial(_windows, recipe.walk, anchors))


def _first_window(
    outwards: Callable[[int, int], Iterator[Window]], frame: int, num_frames: int
) -> Iterator[Window]:
    yield next(outwards(num_frames, frame))


def _windows(
    walk: Callable[[int], Iterator[Window]], anchors: Anchors | int, num_frames: int
) -> Iterator[Window]:
    wanted = anchors_of(num_frames, anchors)
    for window in walk(num_frames):
        asked = tuple(frame for frame in window.asked if frame in wanted)
        if window.repeats:
            yield window
        elif asked:
            yield replace(window, asked=asked)
