"""Questions to a model: clips and dialogues in, answers out. Evaluation, chat and the controls beside a score go through here.

Letters: S slots of one answer, M drawn frames, H W original pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import example
from seglm.model.recipe import Protocol, Recipe
from seglm.utils.answers import Answer, status_of
from seglm.utils.types import Clip, Dialogue, Example, Images, Script, Slot, Turn

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

Asker = Callable[[Sequence[Clip]], Sequence[Sequence[Answer]]]
"""Some clips -> for each clip one Answer a target, in the order of `Clip.targets`. A model is one, a control is another."""

MASK_WORDS = re.compile(
    r"\b(segment\w*|masks?|masked|outlin\w*|highlight\w*|locali[sz]\w*|silhouettes?|cut out|contours?)\b",
    re.IGNORECASE,
)
"""words by which a typed question is taken to ask for a mask; LISA's training questions for one have one of the first two"""
FORCED_END = "."
"""what follows the slot in a forced answer: LISA's validation writes "[SEG]." (utils/dataset.py:437-452 at 3cb2d43)"""


def asker(model: Segmenter, *, protocol: Protocol, max_new_tokens: int) -> Asker:
    """The model as a thing that is asked the questions of its recipe.

    `generate`: the model writes its answer, and a target whose answer has no slot gets no mask. `forced`: the answer is given,
    one slot, as in the released code's validation; whether the model would have written it is not measured.
    """

    def ask_all(clips: Sequence[Clip]) -> list[list[Answer]]:
        scripts = [model.recipe.prompt(clip, model.recipe) for clip in clips]
        if protocol == "forced":
            fill = model.recipe.forced
            scripts = (
                [fill(clip, model.recipe) for clip in clips]
                if fill
                else [
                    filled_in(script, model.recipe, clip) for script, clip in zip(scripts, clips, strict=True)
                ]
            )
        spoken = answers(model, clips, scripts, max_new_tokens=max_new_tokens)
        rejects = model.recipe.reject_token
        return [_by_target(*one, rejects=rejects) for one in zip(clips, scripts, spoken, strict=True)]

    return ask_all


def ask(model: Segmenter, image: NDArray[np.uint8], text: str, *, max_new_tokens: int) -> Answer:
    """One typed question about one picture.

    image: uint8 [H, W, 3], RGB. The answer's `status` tells the two ways to get no mask apart: `no_seg_token`, the question
    speaks of one in English and the model answered in words only, and `not_asked`, whether it asks for one is not known.
    """
    recipe = model.recipe
    still = Clip(key="chat", size=(image.shape[0], image.shape[1]), seen=image[None], drawn=image[None])
    question = Dialogue((Turn((Images((0,)), recipe.chat_prompt.format(text=text))),))
    answer = answers(model, [still], [(question,)], max_new_tokens=max_new_tokens)[0][0]
    if not answer.tokens and not asks_for_mask(text):
        return replace(answer, status="not_asked")
    return answer


def asks_for_mask(text: str) -> bool:
    """Whether a typed question speaks of a mask: it has one of MASK_WORDS."""
    return MASK_WORDS.search(text) is not None


def answers(
    model: Segmenter, clips: Sequence[Clip], scripts: Sequence[Script], *, max_new_tokens: int
) -> list[list[Answer]]:
    """The answer to every dialogue of every clip, in one batch.

    Open dialogues are continued; complete ones are read, and their slots drawn. All dialogues of a call are of one sort.
    Raises ValueError if they are not, or if a question is longer than `backbone.max_length`.
    """
    from seglm.model.answer import answer, forced

    is_open = {not dialogue.turns[-1].answer for script in scripts for dialogue in script}
    if len(is_open) != 1:
        raise ValueError(
            f"{[clip.key for clip in clips]}: {'open and complete dialogues in one call' if is_open else 'no dialogue'}; "
            "ask them apart"
        )
    batch = collate(
        [_example(model, *pair) for pair in zip(clips, scripts, strict=True)],
        share_prefix=model.recipe.engine.share_prefix,
    ).to(device_of(model))
    was_training = model.training
    model.eval()
    try:
        flat = answer(model, batch, max_new_tokens=max_new_tokens) if is_open.pop() else forced(model, batch)
    finally:
        model.train(was_training)
    rest = iter(flat)
    return [[next(rest) for _ in script] for script in scripts]


def filled_in(script: Script, recipe: Recipe, clip: Clip) -> Script:
    """The same questions with the answer filled in: one slot for each target asked for."""
    every_frame = tuple(range(len(clip.drawn)))

    def fill(dialogue: Dialogue) -> Dialogue:
        slots = tuple(Slot(recipe.seg_token, target, every_frame) for target in dialogue.targets)
        last = replace(dialogue.turns[-1], answer=(*slots, FORCED_END))
        return replace(dialogue, turns=(*dialogue.turns[:-1], last))

    return tuple(fill(dialogue) for dialogue in script)


def device_of(model: Segmenter) -> torch.device:
    """Where the model's weights lie."""
    device: torch.device = model.backbone.device
    return device


def _example(model: Segmenter, clip: Clip, script: Script) -> Example:
    branches = model.encoder.encode_script(script, key=clip.key)
    limit = model.encoder.max_length
    if too_long := [len(branch.ids) for branch in branches if len(branch.ids) > limit]:
        raise ValueError(
            f"{clip.key}: a question of {too_long[0]} tokens, the image included; at most {limit} fit "
            f"(--model_max_length {too_long[0]} or more)"
        )
    return example(
        clip,
        branches,
        script,
        vision_size=model.backbone.vision_size,
        decoder_size=model.decoder.image_size,
        pixels=model.recipe.data.pixels,
    )


def _by_target(clip: Clip, script: Script, spoken: Sequence[Answer], *, rejects: str) -> list[Answer]:
    """Answers of dialogues -> answers of targets. A dialogue that asks for several gives its k-th slot to the k-th."""
    found: dict[int, Answer] = {}
    for dialogue, answer in zip(script, spoken, strict=True):
        for place, target in enumerate(dialogue.targets):
            found[target] = answer if len(dialogue.targets) == 1 else _slot(answer, place, rejects=rejects)
    missing = [number for number in range(len(clip.targets)) if number not in found]
    if missing:
        raise RuntimeError(f"{clip.key}: the recipe's `prompt` asks for no dialogue about targets {missing}")
    return [found[number] for number in range(len(clip.targets))]


def _slot(answer: Answer, place: int, *, rejects: str) -> Answer:
    only = slice(place, place + 1)
    tokens = answer.tokens[only]
    return replace(
        answer,
        masks=answer.masks[only],
        tokens=tokens,
        scores=answer.scores[only],
        keywords=answer.keywords[only],
        status=status_of(tokens, rejects),
    )
