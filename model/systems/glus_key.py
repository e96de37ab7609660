"""GLUS' key-frame selector: a model that says how well GLUS would draw an expression's mask in a frame (GLUS-video/GLUS at
8fd138b, kfs/, and the paper's "self-refinement").

What the original is:
- a model of its own, shown 8 to 12 frames of the video, the frame in question and the expression; at `[SCORE]`, which it writes,
  three linear layers read a number;
- that number is taught the IoU of the frame's mask by a GLUS that is half trained (L1), and the answer is taught as words are;
- the frame with the highest number is the key frame, from which GLUS goes out in both directions.

What is decided here, because its code does not run and neither weights nor scores were released:
- it is built as GLUS is and begins with LISA-7B-v1, like GLUS, where the original began with Chat-UniVi-7B as VISA does; any
  trained GLUS may be its --version, too;
- the context is 8 frames: one drawn of each of eight equal parts in training, those in the middle of the parts at inference, as
  GLUS takes its four;
- the wording of question and answer, and that the answer is given at inference: the number is read, not the words;
- SAM-2 and the token that draws are there as in any model here; nothing is drawn with them, and neither is trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from seglm.model.decoders.sam2 import Sam2
from seglm.model.recipe import Recipe, Token
from seglm.model.recipes import recipe as named
from seglm.model.score import Score, ScoreHead, term_of
from seglm.model.scripts import SEG, conversation, phrase_of
from seglm.model.settings import Schedule
from seglm.model.terms import Language
from seglm.model.walk import middles_of_parts, one_of_each_part, typed_once
from seglm.utils.types import Clip, Dialogue, Frames, Images, Piece, Script, Slot, Turn, Window

SCORE = "[SCORE]"
CONTEXT = 8  # frames; kfs shows 8 to 12
CONTEXT_TASK = "\nThese frames are of a video. The next frame is one of them or lies between them.\n"
QUESTION = "\nHow well can the {} be segmented in this frame?"


def context_and_one(num_frames: int, rng: np.random.Generator) -> Frames:
    """Training: a frame of each of eight equal parts of the video, and any one, which is scored."""
    context = one_of_each_part(num_frames, CONTEXT, rng)
    one = int(rng.integers(num_frames))
    return Frames(seen=(*context, one), drawn=(one,))


def a_score_a_target(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """One dialogue for each target, whose slot is taught the IoU that the recipe's term has of it; or the clip's own turns.

    A clip that does not say which frame of a video it shows, such as the golden probe's, teaches no number.
    Raises FileNotFoundError or ValueError if there are no IoUs of the clip.
    """
    if clip.turns:
        return (conversation(clip),)
    ious = term_of(recipe.terms).ious() if clip.frames else None
    said = []
    for number, target in enumerate(clip.targets):
        text = target.texts[rng.integers(len(target.texts))]
        value = None if ious is None else ious.of(clip.key, target.key, clip.frames[0], text=text)
        slot = Slot(SCORE, number, (), value=value)
        said.append(_dialogue(clip, number, text, (slot, ".")))
    return tuple(said)


def asking_for_scores(clip: Clip, recipe: Recipe) -> Script:
    """For each target how well it can be segmented in the last frame that is shown."""
    return tuple(_dialogue(clip, number, target.texts[0], ()) for number, target in enumerate(clip.targets))


def _dialogue(clip: Clip, number: int, text: str, answer: tuple[Piece, ...]) -> Dialogue:
    last = len(clip.seen) - 1
    question = (
        Images(tuple(range(last))),
        CONTEXT_TASK,
        Images((last,)),
        QUESTION.format(phrase_of(text)),
    )
    return Dialogue((Turn(question, answer),), targets=(number,))


def beside_the_context(num_frames: int) -> Iterator[Window]:
    """Every frame in turn beside eight from all over the video."""
    context = middles_of_parts(num_frames, CONTEXT)
    for frame in range(num_frames):
        yield Window(seen=(*context, frame), asked=(frame,))


# ---- recipes --------------------------------------------------------------------------------------------------------
def glus_key() -> Recipe:
    """The key-frame selector of GLUS-S, from IoUs that a half-trained GLUS has on its training data (terms.score.targets)."""
    recipe = _selector_of("glus_s", name="glus_key")
    schedule = Schedule(
        epochs=20, steps_per_epoch=100, batch_size=1, grad_accumulation_steps=16, world_size=1
    )  # of kfs
    return replace(recipe, schedule=schedule)


def glus_tiny_key() -> Recipe:
    """The same on the committed tiny bases and the toy world's videos."""
    recipe = _selector_of("glus_tiny", name="glus_tiny_key")
    videos = "refer_seg_video"
    sets = {videos: recipe.data.sets[videos]}
    return replace(recipe, data=replace(recipe.data, mixture=(videos,), rates=(1.0,), sets=sets))


def _selector_of(parent: str, *, name: str) -> Recipe:
    glus = named(parent)
    assert isinstance(glus.decoder, Sam2)
    return replace(
        glus,
        name=name,
        system="glus_key",
        parent=parent,
        decoder=replace(glus.decoder, training_memory=None),
        tokens=(Token(SEG, "draws"), Token(SCORE, "scores")),
        frames=context_and_one,
        script=a_score_a_target,
        prompt=asking_for_scores,
        forced=None,
        walk=beside_the_context,
        outwards=None,
        typed=typed_once,
        project=ScoreHead(),
        terms=(Language(1.0), Score(1.0)),
        trainable=replace(
            glus.trainable,
            full=tuple(path for path in glus.trainable.full if path != "decoder.mask_decoder"),
            frozen=(),
        ),
        evaluate=replace(glus.evaluate, protocol="forced"),
    )
