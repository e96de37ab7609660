"""How a sample is gone through at inference, and how frames are shown: what recipes have in common.

What is said in a window does not depend on what was said in others, so several of a walk may be asked at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from seglm.utils.types import Clip, Dialogue, Images, Piece, Pointed, Turn, Window

if TYPE_CHECKING:
    from seglm.model.recipe import Recipe

POINTS = "<vp>"
"""the token before a region's patches; a recipe that has it is taught to read them"""


def each_frame(num_frames: int) -> Iterator[Window]:
    """Every frame for itself, as if it were a picture."""
    for number in range(num_frames):
        yield Window(seen=(number,), asked=(number,))


def one_picture(num_seen: int) -> tuple[Images, ...]:
    """The first frame that is seen, whole."""
    return (Images((0,)),)


def regions_shown(clip: Clip) -> tuple[Piece, ...]:
    """`There are 2 part regions in the picture: region1<vp>...</vp>, region2<vp>...</vp>.`, each with its own patches (Sa2VA at
    d01bf3f, Osprey_Dataset.py)."""
    count = len(clip.pointed)
    pieces: list[Piece] = [f"There are {count} part regions in the picture: "]
    for number, masks in enumerate(clip.pointed):
        end = ".\n" if number == count - 1 else ", "
        pieces += [f"region{number + 1}{POINTS}", Pointed(0, masks[0]), f"</vp>{end}"]
    return tuple(pieces)


def typed_once(clip: Clip, text: str, history: Sequence[tuple[str, str]], recipe: Recipe) -> Dialogue:
    """What somebody typed, behind the questions and answers before it; what `shows` shows stands before the first of them."""
    first, *later = (*(question for question, _ in history), text)
    regions = regions_shown(clip) if clip.pointed else ()
    questions: list[tuple[Piece, ...]] = [
        (*recipe.shows(len(clip.seen)), *regions, recipe.chat_prompt.format(text=first)),
        *((question,) for question in later),
    ]
    answers = (*((answer,) for _, answer in history), ())
    return Dialogue(tuple(map(Turn, questions, answers)))
