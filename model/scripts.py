"""What is shown and said by LISA and its descendants: questions, answers, and who asks for what in which dialogue.

The wordings are those of the released code (dvlab-research/LISA at 3cb2d43, utils/utils.py and utils/dataset.py), which released
weights expect to the letter. A system takes what it shares with LISA from here and says the rest in its own file.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seglm.model.recipe import Recipe
from seglm.utils.types import Clip, Dialogue, Frames, Images, Piece, Script, Slot, Target, Turn

SEG = "[SEG]"
REASONSEG = "ReasonSeg|"
"""begins the keys of the data set whose expressions systems treat apart: each has a dialogue of its own"""
PHRASE_QUESTIONS = (
    "Can you segment the {} in this image?",
    "Please segment the {} in this image.",
    "What is {} in this image? Please respond with segmentation mask.",
    "What is {} in this image? Please output segmentation mask.",
)
SENTENCE_QUESTIONS = (
    "{} Please respond with segmentation mask.",
    "{} Please output segmentation mask.",
)
EXPLAIN_QUESTIONS = (
    "{} Please output segmentation mask and explain why.",
    "{} Please output segmentation mask and explain the reason.",
    "{} Please output segmentation mask and give some explanation.",
)
ANSWERS = (
    ("It is ", "."),
    ("Sure, ", "."),
    ("Sure, it is ", "."),
    ("Sure, the segmentation result is ", "."),
    ("", "."),
)
"""the words before and after the slot; utils/utils.py of the original"""
VAL_PHRASE = " What is {} in this image? Please output segmentation mask."
VAL_SENTENCE = " {} Please output segmentation mask."
"""validation prompts begin with a space after the line break (utils/dataset.py of the original)"""


def one_frame(num_frames: int, rng: np.random.Generator) -> Frames:
    """A picture, for the LLM and for the masks; of a video any frame, as any may be asked about later."""
    chosen = int(rng.integers(num_frames)) if num_frames > 1 else 0  # a picture draws nothing
    return Frames(seen=(chosen,), drawn=(chosen,))


def one_expression_a_dialogue(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """One dialogue for each target, or the clip's own turns where it is a conversation in words.

    Where a target carries an explanation the sample asks, with probability `data.explanatory`, for words alone; else by a fair
    coin for the mask alone or for the mask and the explanation (reason_seg_dataset.py:137-214 of the original).
    """
    if clip.turns:
        return (conversation(clip),)
    style = _explaining(clip, rng, recipe.data.explanatory)
    return tuple(_dialogue(clip, number, rng, style) for number in range(len(clip.targets)))


def one_question_a_target(clip: Clip, recipe: Recipe) -> Script:
    """Validation: one open dialogue for each target, with the original's fixed prompts."""
    return tuple(
        Dialogue((Turn(shown(_val_question(target))),), targets=(number,))
        for number, target in enumerate(clip.targets)
    )


def drawn_frames(clip: Clip) -> tuple[int, ...]:
    """Every drawn frame, as a slot names them."""
    return tuple(range(len(clip.drawn)))


def conversation(clip: Clip) -> Dialogue:
    first, *rest = clip.turns
    question = shown("\n" + first[0]) if len(clip.seen) else (first[0],)
    turns = (Turn(question, (first[1],)), *(Turn((asked,), (said,)) for asked, said in rest))
    return Dialogue(turns)


def phrase_of(text: str) -> str:
    """As GLUS writes an expression into its question: without one full stop, in small letters."""
    return text.removesuffix(".").strip().lower()


def _explaining(clip: Clip, rng: np.random.Generator, words_only: float) -> str:
    if words_only < 0 or not any(target.explanation for target in clip.targets):
        return "mask"
    if rng.random() < words_only:
        return "words"
    return "mask" if rng.random() < 0.5 else "both"


def _dialogue(clip: Clip, number: int, rng: np.random.Generator, style: str) -> Dialogue:
    target = clip.targets[number]
    text = target.texts[rng.integers(len(target.texts))]
    before, after = ANSWERS[rng.integers(len(ANSWERS))]
    slot = Slot(SEG, number, drawn_frames(clip))
    if target.explanation is None or style == "mask":
        question = question_for(text, target.is_sentence, rng)
        return Dialogue((Turn(shown("\n" + question), (before, slot, after)),), targets=(number,))
    if style == "words":
        return Dialogue((Turn(shown("\n" + text), (target.explanation,)),))
    question = EXPLAIN_QUESTIONS[rng.integers(len(EXPLAIN_QUESTIONS))].format(text)
    answer = (before, slot, f"{after} {target.explanation}")
    return Dialogue((Turn(shown("\n" + question), answer),), targets=(number,))


def question_for(text: str, is_sentence: bool, rng: np.random.Generator) -> str:
    if is_sentence:
        return SENTENCE_QUESTIONS[rng.integers(len(SENTENCE_QUESTIONS))].format(text)
    return PHRASE_QUESTIONS[rng.integers(len(PHRASE_QUESTIONS))].format(text.lower())


def _val_question(target: Target) -> str:
    return "\n" + (VAL_SENTENCE if target.is_sentence else VAL_PHRASE).format(target.texts[0].strip())


def shown(question: str) -> tuple[Piece, ...]:
    return (Images((0,)), question)


def showing(script: Script, images: tuple[Images, ...], drawn: tuple[int, ...]) -> Script:
    """The script about a clip instead of a picture: `images` in its place, and every slot that draws does so in `drawn`."""

    def instead(piece: Piece) -> tuple[Piece, ...]:
        if isinstance(piece, Images):
            return images
        return (replace(piece, frames=drawn) if isinstance(piece, Slot) and piece.frames else piece,)

    def said(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
        return tuple(new for piece in pieces for new in instead(piece))

    return tuple(
        replace(one, turns=tuple(Turn(said(turn.question), said(turn.answer)) for turn in one.turns))
        for one in script
    )
