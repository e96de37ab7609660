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

from seglm.model.backbones.llava import Llava
from seglm.model.decoders.sam import Sam
from seglm.model.recipe import Recipe, Token
from seglm.model.scripts import SEG, one_expression_a_dialogue, one_frame, one_question_a_target
from seglm.model.toy import toy_sized


def lisa_7b() -> Recipe:
    """LISA-7B on LLaVA-Lightning-7B-v1-1 (Vicuna), the original's defaults."""
    return Recipe(
        name="lisa_7b",
        system="lisa",
        backbone=Llava(weights="LLaVA-Lightning-7B-v1-1"),
        decoder=Sam(),
        tokens=(Token(SEG, "draws"),),
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
    backbone = Llava(weights=weights, template="llava_llama_2")
    return replace(parent, name="lisa_llama2_13b", parent=parent.name, backbone=backbone)


def lisa_tiny() -> Recipe:
    """The same system on the committed tiny bases and the toy world: minutes on two cores."""
    return toy_sized(lisa_7b(), name="lisa_tiny")
