"""KeySeg: a `[KEY]` that carries the condition, fused into `[SEG]` (the released code is at 8dbcc31).

What changes against LISA:
- behind the answer stands `[KEY]` and the keyword of what is meant: "It is [SEG].[KEY] red ring";
- the `[SEG]` vector takes in the `[KEY]` vector before the mask decoder sees it (model/key_fusion.py, `fusion.kind`);
- the `[KEY]` vector is pulled towards the word embedding of its keyword's first token (the `keyword` term);
- training starts from LISA-7B-v1, on referring and reasoning data alone; the language loss weighs 1e-4.
A keyword is what the data set names (ReasonSeg's keyword_outputs.json), else the expression itself.

`keyseg_7b` is the system as its figure draws it, `keyseg_7b_released` the script that was released, whose fusion is random and
frozen. Deviations of both from the released code:
- LISA's trained mask decoder and projection are kept; the original reads SAM's own and draws a new projection, by a call
  that stayed in (finetune.py:250; `decoder=RestartedSam` reproduces it, and `keyseg_7b_released` has it set);
- one `[KEY]` is written the same way in training and validation (the original adds a space in validation);
- `[KEY]` vectors are found by their slots, not by the number of the sample (KISA.py, `evaluate`);
- the accidental LoRA on the fusion's own attention, a substring's doing, is left out of `keyseg_7b_released`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from seglm.model.backbones.llava import Llava
from seglm.model.decoders.sam import Sam
from seglm.model.key_fusion import KeyFusion, Keyword
from seglm.model.recipe import Recipe, Token
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.scripts import (
    ANSWERS,
    REASONSEG,
    SEG,
    conversation,
    drawn_frames,
    one_frame,
    one_question_a_target,
    question_for,
    shown,
)
from seglm.model.settings import SETS, Data, Evaluate, Schedule, Trainable
from seglm.model.terms import Bce, Dice, Language
from seglm.model.toy import toy_sized
from seglm.utils.types import Clip, Dialogue, Piece, Script, Slot, Target, Turn

KEY = "[KEY]"
FORCED_GAP = ". "
"""between the two slots of a validation answer, "[SEG]. [KEY]." """


# ---- what is said ---------------------------------------------------------------------------------------------------
def with_keywords(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """One dialogue for each target with its keyword behind the answer, or the clip's own turns."""
    if clip.turns:
        return (conversation(clip),)
    return tuple(_dialogue(clip, number, rng) for number in range(len(clip.targets)))


def with_keywords_as_released(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """The same, but ReasonSeg's questions are the bare text and their answer is the slot alone."""
    if not clip.key.startswith(REASONSEG):
        return with_keywords(clip, rng, recipe)
    texts = [str(rng.choice(target.texts)) for target in clip.targets]
    return tuple(
        _about(clip, number, text, ("", "."), target)
        for number, (text, target) in enumerate(zip(texts, clip.targets, strict=True))
    )


def keyword_given(clip: Clip, recipe: Recipe) -> Script:
    """Validation with the answer filled in: both slots, no keyword."""
    every = drawn_frames(clip)
    return tuple(
        replace(
            dialogue,
            turns=(
                replace(
                    dialogue.turns[0],
                    answer=(Slot(SEG, number, every), FORCED_GAP, Slot(KEY, number, ()), "."),
                ),
            ),
        )
        for number, dialogue in enumerate(one_question_a_target(clip, recipe))
    )


def _dialogue(clip: Clip, number: int, rng: np.random.Generator) -> Dialogue:
    target = clip.targets[number]
    text = str(rng.choice(target.texts))
    answer = ANSWERS[rng.integers(len(ANSWERS))]
    question = question_for(text, target.is_sentence, rng)
    return _about(clip, number, question, answer, replace(target, texts=(text,)))


def _about(clip: Clip, number: int, question: str, around: tuple[str, str], target: Target) -> Dialogue:
    keyword = target.keyword or target.texts[0].strip().lower()
    said: tuple[Piece, ...] = (
        around[0],
        Slot(SEG, number, drawn_frames(clip)),
        around[1],
        Slot(KEY, number, (), word=keyword),
    )
    return Dialogue((Turn(shown("\n" + question), (*said, f" {keyword}")),), targets=(number,))


# ---- what it starts from --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class RestartedSam(Sam):
    """SAM's own mask decoder and a new projection, even where the LLM's folder holds trained ones (finetune.py:250)."""

    begins_anew: ClassVar[bool] = True

    def begin(self, checkpoint: Checkpoint) -> Checkpoint:
        return self.complete(checkpoint.without(("project.", "decoder.")))


# ---- recipes --------------------------------------------------------------------------------------------------------
def keyseg_7b() -> Recipe:
    """KeySeg-7B from LISA-7B-v1, with the fusion of the paper's figure, trained."""
    trainable = Trainable()
    return Recipe(
        name="keyseg_7b",
        system="keyseg",
        parent="lisa_7b",
        backbone=Llava(weights="xinlai/LISA-7B-v1"),
        decoder=Sam(),
        tokens=(Token(SEG, "draws"), Token(KEY, "names")),
        frames=one_frame,
        script=with_keywords,
        prompt=one_question_a_target,
        forced=keyword_given,
        fusion=KeyFusion(),
        terms=(Language(1e-4), Bce(2.0), Dice(0.5), Keyword(1.0)),
        trainable=replace(trainable, full=(*trainable.full, "fuse")),
        data=Data(
            mixture=("refer_seg", "reason_seg"),
            rates=(9.0, 3.0),
            sets={**SETS, "refer_seg": ("refcoco", "refcoco+", "refcocog")},
            explanatory=-1.0,
        ),
        schedule=Schedule(epochs=20, steps_per_epoch=200),
        evaluate=Evaluate(max_new_tokens=64),
        chat_prompt="\n{text}",
    )


def keyseg_7b_released() -> Recipe:
    """KeySeg-7B as the released script trains it: fusion random and frozen, SAM's own mask decoder, a new projection."""
    parent = keyseg_7b()
    return replace(
        parent,
        name="keyseg_7b_released",
        parent=parent.name,
        decoder=RestartedSam(),
        script=with_keywords_as_released,
        fusion=KeyFusion(kind="faithful"),
        trainable=Trainable(),
    )


def keyseg_tiny() -> Recipe:
    """KeySeg on the committed tiny bases and LISA's toy data.

    It starts from bases that never wrote `[SEG]`, not from a trained LISA, so the language loss weighs more; and the alignment
    less, whose gradient is ten times that of the masks in this size and would have all of the clipped step.
    """
    recipe = toy_sized(keyseg_7b(), name="keyseg_tiny")
    weights = {"language": 0.3, "keyword": 0.1}
    terms = tuple(replace(term, weight=weights.get(term.name, term.weight)) for term in recipe.terms)
    return replace(recipe, terms=terms, data=replace(recipe.data, mixture=Data().mixture))
