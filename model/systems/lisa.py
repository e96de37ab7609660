"""LISA: reasoning segmentation with one `[SEG]` per expression (Lai et al., CVPR 2024; dvlab-research/LISA at 3cb2d43).

This is the parent of all systems here, so nothing changes against it. What it is:
- one image, one dialogue for each expression, one `[SEG]` an answer, read at the state that predicts it;
- a two-layer projection to the prompt of SAM's mask decoder, whose image encoder is frozen;
- LoRA on the query and value projections of the LLM; embeddings, language head, projection and mask decoder trained in full;
- loss = cross entropy + 2 BCE + 0.5 Dice, masks at their original size.

Deviations from the released code, each with a switch where numbers depend on it:
- ReasonSeg's ignore pixels leave the loss (`data.ignore=background` is the original, reason_seg_dataset.py:131);
- overlapping mask parts are a union, never a sum (refer_seg_dataset.py:247 gives values of 2);
- sums are divided by the counts of the whole optimizer step (`engine.loss_norm=peer` is the original's mean of means);
- validation generates its answer (`evaluate.protocol=forced` is the original);
- the IoU head of the mask decoder, which gets no gradient in the original either, is not listed as trainable.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from seglm.model.recipe import (
    Backbone,
    Data,
    Engine,
    Evaluate,
    MaskDecoder,
    Optim,
    Recipe,
    Schedule,
)
from seglm.utils.types import Clip, Dialogue, Frames, Images, Piece, Script, Slot, Target, Turn

SEG = "[SEG]"
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
BASES = Path(__file__).parents[2] / "bases"


# ---- what is shown and said -----------------------------------------------------------------------------------------
def one_frame(num_frames: int, rng: np.random.Generator) -> Frames:
    """The first frame, for the LLM and for the masks."""
    return Frames(seen=(0,), drawn=(0,))


def one_expression_a_dialogue(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """One dialogue for each target, or the clip's own turns where it is a conversation in words.

    Where a target carries an explanation the sample asks, with probability `data.explanatory`, for words alone; else by a fair
    coin for the mask alone or for the mask and the explanation (reason_seg_dataset.py:137-214 of the original).
    """
    if clip.turns:
        return (_conversation(clip),)
    style = _explaining(clip, rng, recipe.data.explanatory)
    return tuple(_dialogue(number, target, rng, style) for number, target in enumerate(clip.targets))


def one_question_a_target(clip: Clip, recipe: Recipe) -> Script:
    """Validation: one open dialogue for each target, with the original's fixed prompts."""
    return tuple(
        Dialogue((Turn(_shown(_val_question(target))),), targets=(number,))
        for number, target in enumerate(clip.targets)
    )


def _conversation(clip: Clip) -> Dialogue:
    first, *rest = clip.turns
    turns = (Turn(_shown("\n" + first[0]), (first[1],)), *(Turn((asked,), (said,)) for asked, said in rest))
    return Dialogue(turns)


def _explaining(clip: Clip, rng: np.random.Generator, words_only: float) -> str:
    if words_only < 0 or not any(target.explanation for target in clip.targets):
        return "mask"
    if rng.random() < words_only:
        return "words"
    return "mask" if rng.random() < 0.5 else "both"


def _dialogue(number: int, target: Target, rng: np.random.Generator, style: str) -> Dialogue:
    text = target.texts[rng.integers(len(target.texts))]
    before, after = ANSWERS[rng.integers(len(ANSWERS))]
    slot = Slot(SEG, number, (0,))
    if target.explanation is None or style == "mask":
        question = _question(text, target.is_sentence, rng)
        return Dialogue((Turn(_shown("\n" + question), (before, slot, after)),), targets=(number,))
    if style == "words":
        return Dialogue((Turn(_shown("\n" + text), (target.explanation,)),))
    question = EXPLAIN_QUESTIONS[rng.integers(len(EXPLAIN_QUESTIONS))].format(text)
    answer = (before, slot, f"{after} {target.explanation}")
    return Dialogue((Turn(_shown("\n" + question), answer),), targets=(number,))


def _question(text: str, is_sentence: bool, rng: np.random.Generator) -> str:
    if is_sentence:
        return SENTENCE_QUESTIONS[rng.integers(len(SENTENCE_QUESTIONS))].format(text)
    return PHRASE_QUESTIONS[rng.integers(len(PHRASE_QUESTIONS))].format(text.lower())


def _val_question(target: Target) -> str:
    return "\n" + (VAL_SENTENCE if target.is_sentence else VAL_PHRASE).format(target.texts[0].strip())


def _shown(question: str) -> tuple[Piece, ...]:
    return (Images((0,)), question)


# ---- recipes --------------------------------------------------------------------------------------------------------
def lisa_7b() -> Recipe:
    """LISA-7B on LLaVA-Lightning-7B-v1-1 (Vicuna), the original's defaults."""
    return Recipe(
        name="lisa_7b",
        system="lisa",
        backbone=Backbone(weights="LLaVA-Lightning-7B-v1-1"),
        decoder=MaskDecoder(),
        tokens=(SEG,),
        frames=one_frame,
        script=one_expression_a_dialogue,
        prompt=one_question_a_target,
        chat_prompt="\n{text}",
    )


def lisa_13b() -> Recipe:
    """LISA-13B on LLaVA-13B-v1-1 (Vicuna)."""
    parent = lisa_7b()
    return replace(
        parent,
        name="lisa_13b",
        parent=parent.name,
        backbone=replace(parent.backbone, weights="LLaVA-13B-v1-1"),
    )


def lisa_llama2_13b() -> Recipe:
    """LISA-13B-llama2, the original's command-line default, with the chat template its base was trained with."""
    parent = lisa_7b()
    weights = "liuhaotian/llava-llama-2-13b-chat-lightning-preview"
    backbone = replace(parent.backbone, weights=weights, template="llava_llama_2")
    return replace(parent, name="lisa_llama2_13b", parent=parent.name, backbone=backbone)


def lisa_tiny() -> Recipe:
    """The same system on the committed tiny bases and the toy world: minutes on two cores."""
    parent = lisa_7b()
    return replace(
        parent,
        name="lisa_tiny",
        parent=parent.name,
        backbone=replace(parent.backbone, weights=str(BASES / "llava"), vision=str(BASES / "llava")),
        decoder=MaskDecoder(weights=str(BASES / "sam"), image_size=64),
        data=Data(
            dataset_dir="./data/toy",
            rates=(1.0, 5.0, 1.0, 3.0),
            targets_per_sample=4,
            exclude_val=True,
        ),
        optim=Optim(lr=1e-3, warmup_steps=30),
        schedule=Schedule(
            epochs=4, steps_per_epoch=350, batch_size=8, grad_accumulation_steps=1, world_size=1
        ),
        engine=Engine(precision="fp32", gradient_checkpointing=False, workers=1),
        evaluate=Evaluate(batch_size=8),
    )
