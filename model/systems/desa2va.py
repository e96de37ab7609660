"""DeSa2VA: Sa2VA whose slot is decoupled into a text vector and a vision vector, each with a mask decoder of its own.

The published repository (longmalongma/DeSa2VA at 1ef7e51) holds Sa2VA's code and nothing of the method, so this is a
reconstruction from the paper; no number of the paper could be checked against its own code.

What the paper states, and what changes against Sa2VA:
- two linear maps behind the LLM make a text vector and a vision vector of the state at `[SEG]`;
- the text vector is a point-level prompt of SAM-2, whose mask decoder was trained on text before; the vision vector prompts a
  second mask decoder that was not; one image encoder, frozen;
- before that, labels in words are mapped by a linear map of their own to such prompts, and mask decoder and map are trained to
  draw from them, by cross entropy and dice, while the LLM is frozen (`desa2va_4b_text`);
- the two masks are mixed dynamically; the mixed one and both of them are compared with the truth;
- at inference the vision's mask is given to the text's mask decoder once more as a prompt.

What is reconstructed here, because nothing readable says it:
- the maps are linear from the LLM's width to SAM-2's, without Sa2VA's layer before them (`project.behind_layer` puts it there);
- a label is the mean of its token embeddings; its linear map is the one that the text vector has afterwards;
- the share of the text's mask is sigmoid(w . [text; vision] + b), one half at the start (`decoder.mixing`);
- the losses are Sa2VA's, at points, the branches' with half the weight;
- both mask decoders begin with SAM-2's weights; which of the three masks for an ambiguous prompt is drawn is decided for both by
  the mixed estimate of IoU; with the mask as a prompt the text's decoder draws once, not twice;
- in frames that are drawn by memory the mixed mask is remembered, and an object keeps its share;
- learning rates and schedule are Sa2VA's; of the text training they are a guess.
Each piece has a switch (docs/desa2va.md); without all of them it is Sa2VA, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from seglm.model.branch_terms import TextBce, TextDice, VisionBce, VisionDice
from seglm.model.decoders.two_branches import BRANCH, WITHOUT_GRADIENT, TwoBranches
from seglm.model.decouple import Decoupled
from seglm.model.phrases import PHRASE
from seglm.model.point_terms import PointBce, PointTerm
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.scripts import SEG, drawn_frames
from seglm.model.settings import Lora, Schedule, Trainable
from seglm.utils.types import Clip, Dialogue, Script, Slot, Turn

BRANCH_SHARE = 0.5
"""weight of the losses of a branch, of that of the mixed mask; the paper gives none"""
WITHOUT_MASKS = ("vqa",)
"""families that teach no label"""


# ---- what is said in the text training ------------------------------------------------------------------------------
def every_label(clip: Clip, rng: np.random.Generator, recipe: Recipe) -> Script:
    """One dialogue in which every target is named before its slot; the LLM does not read it, so no picture is shown."""
    turns = [
        _named(clip, number, str(rng.choice(target.texts))) for number, target in enumerate(clip.targets)
    ]
    said = turns or [Turn((question,), (answer,)) for question, answer in clip.turns[:1]]
    return (Dialogue(tuple(said), targets=tuple(range(len(turns)))),)


def labels_given(clip: Clip, recipe: Recipe) -> Script:
    """Validation of the text training: of each target its label."""
    return tuple(
        Dialogue((_named(clip, number, target.texts[0]),), targets=(number,))
        for number, target in enumerate(clip.targets)
    )


def _named(clip: Clip, number: int, text: str) -> Turn:
    begin, end = PHRASE
    return Turn(("",), (f"{begin} {text.strip()} {end} ", Slot(SEG, number, drawn_frames(clip))))


# ---- recipes --------------------------------------------------------------------------------------------------------
def desa2va_4b() -> Recipe:
    """DeSa2VA-4B on InternVL2.5-4B; it may begin with what desa2va_4b_text has learnt (--init_from)."""
    return _on("sa2va_4b", name="desa2va_4b")


def desa2va_4b_text() -> Recipe:
    """Its first stage: labels in words become masks, without the LLM."""
    return _text_training(desa2va_4b())


def desa2va_1b() -> Recipe:
    """DeSa2VA-1B on InternVL2.5-1B; it may begin with what desa2va_1b_text has learnt (--init_from)."""
    return _on("sa2va_1b", name="desa2va_1b")


def desa2va_1b_text() -> Recipe:
    """Its first stage: labels in words become masks, without the LLM."""
    return _text_training(desa2va_1b())


def desa2va_tiny() -> Recipe:
    """The same system on the committed tiny bases and the toy world; it may begin with desa2va_tiny_text (--init_from)."""
    return _on("sa2va_tiny", name="desa2va_tiny")


def desa2va_tiny_text() -> Recipe:
    """Its first stage: labels in words become masks, without the LLM."""
    recipe = _text_training(desa2va_tiny())
    return replace(recipe, schedule=replace(recipe.schedule, epochs=1))


def _on(parent: str, *, name: str) -> Recipe:
    """The system on a recipe of Sa2VA."""
    base = named(parent)
    mixed = [term for term in base.terms if isinstance(term, PointTerm)]
    return replace(
        base,
        name=name,
        system="desa2va",
        parent=parent,
        after=f"{name}_text",
        project=Decoupled(**vars(base.project)),
        decoder=TwoBranches(**vars(base.decoder)),
        terms=(*base.terms, *_of_branches(mixed)),
        trainable=replace(
            base.trainable,
            full=(*base.trainable.full, BRANCH[:-1]),
            frozen=(*base.trainable.frozen, *WITHOUT_GRADIENT),
        ),
    )


def _of_branches(terms: Iterable[PointTerm]) -> tuple[PointTerm, ...]:
    """Each of Sa2VA's losses for both branches."""
    return tuple(
        kind(BRANCH_SHARE * term.weight, term.points)
        for term in terms
        for kind in ((TextBce, VisionBce) if isinstance(term, PointBce) else (TextDice, VisionDice))
    )


def _text_training(whole: Recipe) -> Recipe:
    """What comes before a recipe: the text's map and mask decoder alone."""
    assert isinstance(whole.decoder, TwoBranches)
    shares = {family: rate for family, rate in whole.data.shares().items() if family not in WITHOUT_MASKS}
    return replace(
        whole,
        name=whole.after,
        parent=whole.name,
        after="",
        read_at="phrase",
        decoder=replace(whole.decoder, mixing="text", reprompt=False),
        script=every_label,
        forced=labels_given,
        terms=tuple(term for term in whole.terms if isinstance(term, PointTerm) and not term.candidate),
        trainable=Trainable(
            lora=Lora(r=0),
            full=("decoder.mask_decoder", "project"),
            frozen=(*_heads(whole.trainable), "project.vision"),
        ),
        data=replace(whole.data, mixture=tuple(shares), rates=tuple(shares.values())),
        schedule=Schedule(
            epochs=max(1, whole.schedule.epochs // 4),
            steps_per_epoch=whole.schedule.steps_per_epoch,
            batch_size=whole.schedule.batch_size,
            grad_accumulation_steps=whole.schedule.grad_accumulation_steps,
            world_size=whole.schedule.world_size,
        ),
        evaluate=replace(whole.evaluate, protocol="forced"),
    )


def _heads(trainable: Trainable) -> tuple[str, ...]:
    return tuple(path for path in trainable.frozen if path.startswith("decoder.mask_decoder."))
