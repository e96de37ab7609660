"""From dialogues to answers in words and in masks, for chat, evaluation and the checks of a checkpoint.

Letters: S slots of one answer, M drawn frames of its example, D hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seglm.model.decoders.base import restore
from seglm.model.fusion import paired
from seglm.model.generate import generate
from seglm.model.segmenter import Segmenter
from seglm.utils.answers import NOTHING_DRAWN, Answer, status_of
from seglm.utils.portable import is_finite
from seglm.utils.types import Batch


@dataclass(frozen=True)
class _Spoken:
    """A slot that stands in an answer."""

    token: str
    example: int
    branch: int
    """which dialogue of the batch, in the order of `Batch.ends`"""
    is_drawn: bool
    words: str = ""
    """what stands behind it up to the next slot"""


@torch.inference_mode()
def answer(model: Segmenter, batch: Batch, *, max_new_tokens: int) -> list[Answer]:
    """Generates the answer of every dialogue of the batch and draws every slot that was written.

    batch: open prompts, as `collate` makes them. Returns one Answer a dialogue, in the order of `batch.ends`.
    A slot token segments all drawn frames of its example. `status` is "ok" with masks, "rejected" if the model wrote nothing but
    that it is not there, and "no_seg_token" without either; whether a mask was asked for at all is the caller's knowledge.
    """
    written = generate(model, batch, max_new_tokens=max_new_tokens)
    slot_ids = {model.encoder.token_id(token): token for token in model.recipe.vocabulary}
    spoken, states = [], []
    for number, dialogue in enumerate(written):
        places = [place for place, token in enumerate(dialogue.ids) if token in slot_ids]
        for place, stop in zip(places, [*places[1:], len(dialogue.ids)], strict=False):
            token = slot_ids[dialogue.ids[place]]
            words = model.encoder.decode(dialogue.ids[place + 1 : stop])
            is_drawn = token == model.recipe.seg_token
            spoken.append(_Spoken(token, dialogue.example, number, is_drawn, words))
            states.append(dialogue.states[place + 1 + model.recipe.read_at])
    drawn = _draw(model, batch, spoken, torch.stack(states) if states else None)
    return [
        replace(one, text=model.encoder.decode(dialogue.ids), ids=tuple(dialogue.ids))
        for dialogue, one in zip(written, drawn, strict=True)
    ]


@torch.inference_mode()
def forced(model: Segmenter, batch: Batch) -> list[Answer]:
    """The masks of complete dialogues: the text is given, only the slots are drawn (the released code's validation).

    Where the system can reject, the given tokens only say where to look for what the model would have written, and every slot is
    drawn, in a second pass over the text with all of them `[SEG]` (GSVA, solver.py:221-306 at 618dc79). A slot counts as rejected
    if the most likely token there is `[REJ]`, or is not the `[SEG]` that was given.
    """
    recipe = model.recipe
    with model.autocast():
        states = model.backbone.hidden(batch).flatten(0, 1)
        if recipe.reject_token and batch.slots:
            likely = model.backbone.head(states[batch.slot_at - 1]).argmax(-1).tolist()
            if any(slot.token == recipe.reject_token for slot in batch.slots):
                states = model.backbone.hidden(_all_drawing(model, batch)).flatten(0, 1)
        else:
            likely = []
    dialogue_of = {branch: number for number, branch in enumerate(_branches(batch))}
    spoken = [
        _Spoken(
            token=_written(model, slot.token, likely[number]) if likely else slot.token,
            example=slot.example,
            branch=dialogue_of[slot.example, slot.branch],
            is_drawn=slot.token != recipe.key_token,
        )
        for number, slot in enumerate(batch.slots)
    ]
    return _draw(model, batch, spoken, model.slot_states(states, batch) if spoken else None)


def _all_drawing(model: Segmenter, batch: Batch) -> Batch:
    """The batch with `[SEG]` in every slot."""
    ids = batch.ids.clone()
    ids.view(-1)[batch.slot_at] = model.encoder.token_id(model.recipe.seg_token)
    return replace(batch, ids=ids)


def _written(model: Segmenter, given: str, likely: int) -> str:
    """What the model would have written in a slot, of the two tokens there are: the given one, or else the other."""
    draws, rejects = model.recipe.seg_token, model.recipe.reject_token
    if likely == model.encoder.token_id(given):
        return given
    return rejects if given == draws else draws


def _branches(batch: Batch) -> list[tuple[int, int]]:
    """(example, branch within the example) of every dialogue, in the order of `batch.ends`."""
    examples = [example for example, _, _ in batch.ends]
    return [(example, examples[:number].count(example)) for number, example in enumerate(examples)]


def _draw(model: Segmenter, batch: Batch, spoken: Sequence[_Spoken], states: Tensor | None) -> list[Answer]:
    """For each dialogue its slots' masks, without its text; all slots of the batch in one decode. states: [slots, D]."""
    frames_of = [
        [frame for frame, owner in enumerate(batch.frame_example) if owner == example]
        for example, _, _ in batch.ends
    ]
    jobs = [
        (slot, frame) for slot, one in enumerate(spoken) if one.is_drawn for frame in frames_of[one.branch]
    ]
    low, iou = torch.zeros(0), torch.zeros(0)
    if states is not None and jobs:
        prompts = model.prompts(model.queries(states), spoken)
        with model.autocast():
            features = model.encode_frames(batch, {frame for _, frame in jobs})
        slot_of, frame_of = torch.tensor(jobs, device=features.device).unbind(1)
        low, iou = model.decode(features[frame_of], prompts[slot_of])
        if not is_finite(low):
            raise FloatingPointError(
                "the logits of a mask are NaN or infinite, which would be an empty mask; in fp16 activations overflow, use "
                "--precision bf16 or fp32; in another precision the weights are damaged"
            )
    keys = paired(spoken, draws=model.recipe.seg_token, keys=model.recipe.key_token)
    first_job = {slot: number for number, (slot, _) in reversed(list(enumerate(jobs)))}
    found = []
    for dialogue, frames in enumerate(frames_of):
        slots = [
            number
            for number, one in enumerate(spoken)
            if one.branch == dialogue and one.token != model.recipe.key_token
        ]
        masks = [
            _restored(model, batch, low[first_job[slot] :][: len(frames), 0], frames)
            if slot in first_job
            else _blank(batch, frames)
            for slot in slots
        ]
        tokens = tuple(spoken[slot].token for slot in slots)
        key_of = [keys[slot] for slot in slots]
        found.append(
            Answer(
                text="",
                ids=(),
                status=status_of(tokens, model.recipe.reject_token),
                masks=torch.stack(masks) if masks else _blank(batch, frames)[None][:0],
                tokens=tokens,
                scores=tuple(float(iou[first_job[slot], 0]) if slot in first_job else 0.0 for slot in slots),
                keywords=tuple("" if key is None else _keyword(spoken[key].words) for key in key_of)
                if model.recipe.key_token
                else (),
            )
        )
    return found


def _keyword(words: str) -> str:
    """What was written behind `[KEY]`, without the punctuation that ends the sentence."""
    return words.strip().rstrip(".").strip()


def _restored(model: Segmenter, batch: Batch, low_Mhw: Tensor, frames: Sequence[int]) -> Tensor:
    """One slot's masks [M, h, w] -> float32 [M, H, W]; all frames of one example have one size."""
    first = frames[0]
    full = restore(
        low_Mhw[None],
        resized=batch.resized[first],
        size=batch.sizes[first],
        square=model.decoder.image_size,
    )
    return full[0].cpu()


def _blank(batch: Batch, frames: Sequence[int]) -> Tensor:
    height, width = batch.sizes[frames[0]] if frames else (0, 0)
    return torch.full((len(frames), height, width), NOTHING_DRAWN)
