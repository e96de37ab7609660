"""KeySeg: a `[KEY]` that carries the condition, fused into `[SEG]` (the released code is at 8dbcc31).

What changes against LISA:
- behind the answer stands `[KEY]` and the keyword of what is meant: "It is [SEG].[KEY] red ring";
- the `[SEG]` vector takes in the `[KEY]` vector before the mask decoder sees it (model/fusion.py, `fusion.kind`);
- the `[KEY]` vector is pulled towards the word embedding of its keyword's first token (the `keyword` term);
- training starts from LISA-7B-v1, on referring and reasoning data alone; the language loss weighs 1e-4.
A keyword is what the data set names (ReasonSeg's keyword_outputs.json), else the expression itself.

`keyseg_7b` is the system as its figure draws it, `keyseg_7b_released` the script that was released, whose fusion is random and
frozen. Deviations of both from the released code:
- LISA's trained mask decoder and projection are kept; the original reads SAM's own and draws a new projection, by a call
  that stayed in (finetune.py:250; `decoder.restart=true` reproduces it, and `keyseg_7b_released` has it set);
- one `[KEY]` is written the same way in training and validation (the original adds a space in validation);
- `[KEY]` vectors are found by their slots, not by the number of the sample (KISA.py, `evaluate`);
- the accidental LoRA on the fusion's own attention, a substring's doing, is left out of `keyseg_7b_released`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seglm.model.recipe import (
    Backbone,
    Data,
    Evaluate,
    Fusion,
    MaskDecoder,
    Recipe,
    Schedule,
    Term,
    Trainable,
)
from seglm.model.scripts import (
    ANSWERS,
    REASONSEG,
    SEG,
    conversation,
    one_frame,
    one_question_a_target,
    question_for,
    shown,
)
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
    return tuple(_dialogue(number, target, rng) for number, target in enumerate(clip.targets))


def with_keywords_as_released(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """The same, but ReasonSeg's questions are the bare text and their answer is the slot alone."""
    if not clip.key.startswith(REASONSEG):
        return with_keywords(clip, rng, recipe)
    texts = [str(rng.choice(target.texts)) for target in clip.targets]
    return tuple(
        _about(number, text, ("", "."), target)
        for number, (text, target) in enumerate(zip(texts, clip.targets, strict=True))
    )


def keyword_given(clip: Clip, recipe: Recipe) -> Script:
    """Validation with the answer filled in: both slots, no keyword."""
    every = tuple(range(len(clip.drawn)))
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


def _dialogue(number: int, target: Target, rng: np.random.Generator) -> Dialogue:
    text = str(rng.choice(target.texts))
    answer = ANSWERS[rng.integers(len(ANSWERS))]
    return _about(number, question_for(text, target.is_sentence, rng), answer, replace(target, texts=(text,)))


def _about(number: int, question: str, around: tuple[str, str], target: Target) -> Dialogue:
    keyword = target.keyword or target.texts[0].strip().lower()
    said: tuple[Piece, ...] = (
        around[0],
        Slot(SEG, number, (0,)),
        around[1],
        Slot(KEY, number, (), word=keyword),
    )
    return Dialogue((Turn(shown("\n" + question), (*said, f" {keyword}")),), targets=(number,))


# ---- recipes --------------------------------------------------------------------------------------------------------
def keyseg_7b() -> Recipe:
    """KeySeg-7B from LISA-7B-v1, with the fusion of the paper's figure, trained."""
    trainable = Trainable()
    return Recipe(
        name="keyseg_7b",
        system="keyseg",
        parent="lisa_7b",
        backbone=Backbone(weights="xinlai/LISA-7B-v1"),
        decoder=MaskDecoder(),
        tokens=(SEG, KEY),
        key_token=KEY,
        frames=one_frame,
        script=with_keywords,
        prompt=one_question_a_target,
        forced=keyword_given,
        fusion=Fusion(kind="paper"),
        terms=(Term("language", 1e-4), Term("bce", 2.0), Term("dice", 0.5), Term("keyword", 1.0)),
        trainable=replace(trainable, full=(*trainable.full, "fuse")),
        data=Data(
            mixture=("refer_seg", "reason_seg"),
            rates=(9.0, 3.0),
            refer_seg=("refcoco", "refcoco+", "refcocog"),
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
        decoder=replace(parent.decoder, restart=True),
        script=with_keywords_as_released,
        fusion=Fusion(kind="faithful"),
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
