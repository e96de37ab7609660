"""GSVA: many targets in one answer, and none (Xia et al., CVPR 2024; LeapLabTHU/GSVA at 618dc79).

What changes against LISA:
- all expressions of an image are asked for in one question, and the answer has a `[SEG]` for each that is there and a `[REJ]` for
  each that is not; a mask belongs to its expression because its slot does, whatever stands between;
- `[REJ]` draws nothing and is learnt by the language loss alone;
- gRefCOCO is among the referring sets: only there something is asked for in vain;
- LoRA is optional (rank 0 freezes the LLM's layers, below 0 trains them in full), 20 images a GPU without accumulation.

Deviations from the released code, each with a switch where numbers depend on it:
- rejected rows leave the mask losses (`terms.bce.rejected=peer terms.dice.rejected=peer` is the original: constants that
  weaken the other masks);
- a sample in which everything is rejected is kept, the original draws another (data/refer_seg_dataset.py:238);
- only the slot becomes `[REJ]`, the original also rewrites the letters SEG inside an expression;
- names in an answer are parted by ", " everywhere, the original leaves out the space between classes (data/sem_seg_dataset.py);
- whole sentences outside ReasonSeg are asked for one by one, in LISA's words: its list of names has no place for one;
- validation generates its answers, one question for each expression, and the model decides; `evaluate.protocol=forced` is the
  original: one question for the whole image, the answer given, and a second pass that draws every expression (solver.py:221-306).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from seglm.model.backbones.llava import Llava
from seglm.model.decoders.sam import Sam
from seglm.model.recipe import Recipe, Token
from seglm.model.scripts import (
    ANSWERS,
    REASONSEG,
    SEG,
    drawn_frames,
    one_expression_a_dialogue,
    one_frame,
    one_question_a_target,
    question_for,
    shown,
)
from seglm.model.settings import SETS, Data, Evaluate, Lora, Schedule, Trainable
from seglm.model.terms import Bce, Dice, Language, MaskTerm
from seglm.model.toy import toy_sized
from seglm.utils.batch import Batch
from seglm.utils.types import Clip, Dialogue, Piece, Script, Slot, Turn

REJ = "[REJ]"
QUESTIONS = (
    "Can you segment {} in this image?",
    "Please segment {} in this image.",
    "What are {} in this image? Please respond with segmentation masks.",
    "What are {} in this image? Please output segmentation masks.",
)
OPENINGS = ("The segmentation results are ", "Sure, they are ", "Sure, ", "Sure, ", "Sure, ")
ITEMS = ("{} ", "{}:", "the mask of {} is ", "the segmentation of {} is ", "the referred {} is ")
"""aligned with OPENINGS; the slot follows (model/llava/constants.py)"""
VAL_QUESTION = "\n What are {}in this image? Please output segmentation masks."
"""without the space before "in", as released weights are evaluated (data/dataset.py:506)"""
TOGETHER = 0.25
"""of the toy recipe's samples: how often all targets are asked for at once"""


# ---- what is said ---------------------------------------------------------------------------------------------------
def all_in_one_answer(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """One dialogue for all targets; conversations and ReasonSeg as in LISA, whole sentences in its words."""
    if clip.turns or clip.key.startswith(REASONSEG):
        return one_expression_a_dialogue(clip, rng, recipe)
    if _each_for_itself(clip):
        return tuple(_short(clip, number, rng) for number in range(len(clip.targets)))
    names = [str(rng.choice(target.texts)).strip().strip(".") for target in clip.targets]
    style = int(rng.integers(len(OPENINGS)))
    question = QUESTIONS[rng.integers(len(QUESTIONS))].format(", ".join(names).lower())
    answer = _items(clip, names, ITEMS[style])
    return (_about_all(clip, "\n" + question, (OPENINGS[style], *answer)),)


def all_in_one_or_each(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """Now and then one dialogue for all targets, mostly one for each in LISA's short words: a small model spends its little
    training on `[SEG]` or `[REJ]` then, and not on repeating expressions.
    """
    if clip.turns or clip.key.startswith(REASONSEG) or rng.random() < TOGETHER:
        return all_in_one_answer(clip, rng, recipe)
    return tuple(_short(clip, number, rng) for number in range(len(clip.targets)))


def each_alone(clip: Clip, recipe: Recipe) -> Script:
    """Generated answers: one open dialogue for each target, in a wording of training; ReasonSeg and sentences as in LISA."""
    if _each_for_itself(clip):
        return one_question_a_target(clip, recipe)
    names = [target.texts[0].strip().strip(".").lower() for target in clip.targets]
    return tuple(
        Dialogue((Turn(shown("\n" + QUESTIONS[-1].format(name))),), targets=(number,))
        for number, name in enumerate(names)
    )


def everything_given(clip: Clip, recipe: Recipe) -> Script:
    """The released validation: all expressions in one question, and the true answer with its `[SEG]` and `[REJ]`; ReasonSeg and
    whole sentences in LISA's questions, with the slot alone as the answer (data/dataset.py, `ValDataset`)."""
    if _each_for_itself(clip):
        return tuple(
            replace(asked, turns=(replace(asked.turns[0], answer=(_slot(clip, number),)),))
            for number, asked in enumerate(one_question_a_target(clip, recipe))
        )
    names = [target.texts[0].strip().strip(".") for target in clip.targets]
    answer = ("Sure,", *_items(clip, names, "{}:"))
    return (_about_all(clip, VAL_QUESTION.format(", ".join(names)), answer),)


def _each_for_itself(clip: Clip) -> bool:
    """A whole sentence fits into no list of names; of ReasonSeg, phrases are asked for in LISA's words, too."""
    return clip.key.startswith(REASONSEG) or any(target.is_sentence for target in clip.targets)


def _about_all(clip: Clip, question: str, answer: tuple[Piece, ...]) -> Dialogue:
    return Dialogue((Turn(shown(question), answer),), targets=tuple(range(len(clip.targets))))


def _items(clip: Clip, names: Sequence[str], style: str) -> tuple[Piece, ...]:
    """ "a:[SEG], b:[REJ]." """
    pieces: list[Piece] = []
    for number, name in enumerate(names):
        pieces += [", " * bool(number) + style.format(name), _slot(clip, number)]
    return (*pieces, ".")


def _short(clip: Clip, number: int, rng: np.random.Generator) -> Dialogue:
    target = clip.targets[number]
    question = question_for(str(rng.choice(target.texts)), target.is_sentence, rng)
    before, after = ANSWERS[rng.integers(len(ANSWERS))]
    said = (before, _slot(clip, number), after)
    return Dialogue((Turn(shown("\n" + question), said),), targets=(number,))


def _slot(clip: Clip, number: int) -> Slot:
    """`[SEG]` for a target with a pixel in a drawn frame, else `[REJ]`."""
    is_there = bool(clip.masks[number].any())
    return Slot(SEG, number, drawn_frames(clip)) if is_there else Slot(REJ, number, ())


# ---- what is lost ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _OfRejected(MaskTerm):
    rejected: Literal["leave_out", "peer"] = "leave_out"
    """rejected slots: not there, or the original's constants: a mask of zero logits against an empty target in every drawn frame
    (model/modeling_lisa_gsva.py at 618dc79)"""

    def check(self, recipe: Recipe, /) -> None:
        if self.rejected == "peer" and not recipe.reject_token:
            raise ValueError(
                f"terms.{self.name}.rejected=peer counts the slots of a token that rejects, and recipe {recipe.name} has none"
            )

    def blanks(self, batch: Batch) -> list[int]:
        """The drawn frames of every rejected slot that counts."""
        if self.rejected == "leave_out":
            return []
        return [
            frame
            for slot in batch.slots
            if slot.token == REJ
            for frame, example in enumerate(batch.frame_example)
            if example == slot.example
        ]


@dataclass(frozen=True)
class BceOfRejected(_OfRejected, Bce):
    """LISA's, which can also count what was rejected."""


@dataclass(frozen=True)
class DiceOfRejected(_OfRejected, Dice):
    """LISA's, which can also count what was rejected."""


# ---- recipes --------------------------------------------------------------------------------------------------------
def gsva_7b() -> Recipe:
    """GSVA-7B on LLaVA-Lightning-7B-v1-1 (Vicuna), LoRA of rank 8."""
    return Recipe(
        name="gsva_7b",
        system="gsva",
        parent="lisa_7b",
        backbone=Llava(weights="LLaVA-Lightning-7B-v1-1", max_length=1024),
        decoder=Sam(),
        tokens=(Token(SEG, "draws"), Token(REJ, "rejects")),
        frames=one_frame,
        script=all_in_one_answer,
        prompt=each_alone,
        forced=everything_given,
        terms=(Language(1.0), BceOfRejected(2.0), DiceOfRejected(0.5)),
        data=Data(sets={**SETS, "refer_seg": (*SETS["refer_seg"], "grefcoco")}),
        schedule=Schedule(batch_size=20, grad_accumulation_steps=1),
        evaluate=Evaluate(dataset="grefcoco|unc|val", max_new_tokens=64),
        chat_prompt="\n{text}",
    )


def gsva_13b() -> Recipe:
    """GSVA-13B on LLaVA-13B-v1-1 (Vicuna), LoRA of rank 64."""
    parent = gsva_7b()
    return replace(
        parent,
        name="gsva_13b",
        parent=parent.name,
        backbone=replace(parent.backbone, weights="LLaVA-13B-v1-1"),
        trainable=Trainable(lora=Lora(r=64)),
    )


def gsva_llama2_13b() -> Recipe:
    """GSVA-Llama2-13B, LoRA of rank 64."""
    parent = gsva_13b()
    weights = "liuhaotian/llava-llama-2-13b-chat-lightning-preview"
    backbone = Llava(weights=weights, template="llava_llama_2", max_length=1024)
    return replace(parent, name="gsva_llama2_13b", parent=parent.name, backbone=backbone)


def gsva_tiny() -> Recipe:
    """The same system on the committed tiny bases and the toy world."""
    recipe = toy_sized(gsva_7b(), name="gsva_tiny")
    data = replace(recipe.data, sets={**SETS, "refer_seg": ("grefcoco",)}, rates=(1.0, 6.0, 2.5, 2.5))
    return replace(recipe, script=all_in_one_or_each, prompt=one_question_a_target, data=data)
