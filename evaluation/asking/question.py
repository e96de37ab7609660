"""A question by a person: a picture or a video and words in, a typed answer out. Chat, `predict` and folders go through here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seglm.dataset.faults import of_no_data_set
from seglm.dataset.given import is_video, regions_of, sample_of
from seglm.evaluation.asking.ask import ask
from seglm.evaluation.asking.turns import Walk
from seglm.model.recipe import Recipe
from seglm.utils.answers import Drawn
from seglm.utils.encoding import check_text
from seglm.utils.prediction import FramePrediction, Prediction, seen
from seglm.utils.types import Sample

if TYPE_CHECKING:
    from seglm.dataset.given import Film, Picture
    from seglm.model.segmenter import Segmenter

MAX_NEW_TOKENS = 512  # LISA's chat.py at 3cb2d43
LONGEST = f"longest answer (default {MAX_NEW_TOKENS}; of a system that is taught its slots alone what it is scored with: GLUS, 1)"
"""what `--max_new_tokens` is, for the commands that have it"""
Told = Sequence[tuple[str, str]]
"""(question, answer) of the turns before; None, where it may be, is none"""
Carry = Callable[[Iterator[Drawn], Sequence[Sample]], Iterator[Drawn]]


def predict(
    model: Segmenter,
    about: Picture | Film | None,
    text: str,
    *,
    history: Told | None = None,
    regions: NDArray[np.bool_] | None = None,
    max_new_tokens: int | None = None,
) -> Prediction:
    """The whole answer.

    regions: bool [R, H, W], things in the picture that the question calls region1, region2, ... max_new_tokens: see `longest`.
    Raises as `predict_frames`, and ValueError for regions of another form, or where the model is not taught to read any.
    """
    with of_no_data_set():
        sample = sample_of(about)
    if regions is not None:
        if model.recipe.points is None:
            raise ValueError(f"regions: recipe {model.recipe.name} is not taught to read any; leave them out")
        sample = replace(sample, regions=regions_of(regions, sample))
    drawn = predict_frames(model, sample, text, history=history, max_new_tokens=max_new_tokens)
    answer = Prediction(tuple(drawn), history=_checked(history), is_video=is_video(about))
    return replace(answer, history=(*answer.history, (text, answer.text)))


def predict_frames(
    model: Segmenter,
    sample: Sample,
    text: str,
    *,
    history: Told | None = None,
    max_new_tokens: int | None = None,
    carry: Carry | None = None,
    walk: Walk | None = None,
) -> Iterator[FramePrediction]:
    """Frame after frame in their order: pixels of a few are held, and run lengths of those that a walk draws before their turn.

    carry: makes frames of which all are drawn of those that the model draws (`evaluation/propagate`). walk: how a video is gone
    through; None takes the recipe's. max_new_tokens: see `longest`.

    Raises ValueError at once for a blank question, a model that draws no mask, a history that is none, no token to answer
    with and weights that were turned into another type, and ValueError when it comes to a frame that cannot be decoded.
    """
    check_question(text)
    model.recipe.check_draws()
    most = longest(model.recipe, max_new_tokens)
    _check_weights(model)
    told = _checked(history)

    def frames() -> Iterator[FramePrediction]:
        early: dict[int, FramePrediction] = {}
        due = 0
        with of_no_data_set():
            own = ask(model, sample, text, history=told, max_new_tokens=most, walk=walk)
            for drawn in own if carry is None else carry(own, [sample]):
                [answer] = drawn.answers
                early[drawn.frame] = seen(drawn.frame, answer, sample.size)
                while due in early:
                    yield early.pop(due)
                    due += 1

    return frames()


def longest(recipe: Recipe, asked: int | None = None) -> int:
    """Tokens after which an answer stops: as many as are asked for, else MAX_NEW_TOKENS.

    A system that is taught its slots alone writes them up to any limit: it stops where it does when it is scored. Raises
    ValueError for less than one.
    """
    if asked is None:
        return recipe.evaluate.max_new_tokens if recipe.says_slots_alone else MAX_NEW_TOKENS
    if asked < 1:
        raise ValueError(f"max_new_tokens={asked}; permitted are whole numbers from 1")
    return asked


def check_question(text: Any) -> None:
    """Raises ValueError for what is no text, and for a blank one."""
    if not isinstance(text, str):
        raise ValueError(f"the question is a {type(text).__name__}; give a text, one question at a time")
    check_text(text, "the question")


def _check_weights(model: Segmenter) -> None:
    """Trained weights are float32 in every precision; `half()` and its kin would end in PyTorch's words somewhere deep inside."""
    import torch

    if wrong := {str(weight.dtype) for weight in model.project.parameters()} - {str(torch.float32)}:
        raise ValueError(
            f"the weights were turned into {', '.join(wrong)}; load the model again with precision='bf16' or 'fp16' (in "
            "from_pretrained dtype=...), which decides what each part is kept in"
        )


def _checked(history: Any) -> tuple[tuple[str, str], ...]:
    """Raises ValueError for what is neither None nor a list of pairs of text."""
    history = () if history is None else history
    if isinstance(history, str) or not all(
        isinstance(turn, tuple | list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)
        for turn in history
    ):
        raise ValueError(
            f"history={history!r}; permitted are (question, answer) pairs in their order: give `history` of the last answer"
        )
    for question, _ in history:
        check_text(question, "a question of the history")
    return tuple((question, answer) for question, answer in history)
