"""From dialogues to words, and from the slots in them to prompts: the first of two stages, `draw.py` is the second.

Letters: S slots, P prompt vectors of a slot, C their width, D hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seglm.model.fusion import paired
from seglm.model.generate import generate
from seglm.model.score_module import ScoreModule, scores_of
from seglm.model.segmenter import Segmenter
from seglm.utils.answers import Spoken, status_of
from seglm.utils.batch import Batch


@dataclass(frozen=True)
class _Mention:
    """A slot that stands in an answer."""

    token: str
    branch: int
    """which dialogue of the batch, in the order of `Batch.laid`"""
    is_drawn: bool
    words: str = ""
    """what stands behind it up to the next slot"""

    @property
    def example(self) -> int:
        """Every dialogue is one of its own: a fusion that mixes what is said of a picture (KeySeg as released) is given one
        question at a time where it is used, and what else is asked changes no answer."""
        return self.branch


@torch.inference_mode()
def speak(model: Segmenter, batch: Batch, *, max_new_tokens: int) -> list[Spoken]:
    """Generates the answer of every dialogue of the batch.

    batch: open prompts, as `collate` makes them. Returns one Spoken a dialogue, in the order of `batch.laid`.
    `status` is "ok" with something to draw, "rejected" if the model wrote nothing but that it is not there, and "no_seg_token"
    without either; whether a mask was asked for at all is the caller's knowledge.
    Raises ValueError for a recipe that reads phrases, which no answer holds.
    """
    read_at = model.recipe.read_at
    if read_at == "phrase":
        raise ValueError(
            f"recipe {model.recipe.name} draws phrases that are given (read_at=phrase) and asks no language model; score it with "
            "evaluate.protocol=forced (--protocol forced), or train the system that begins with it"
        )
    written = generate(model, batch, max_new_tokens=max_new_tokens)
    slot_ids = {model.encoder.token_id(token): token for token in model.recipe.slot_tokens}
    mentions, states = [], []
    for number, dialogue in enumerate(written):
        places = [place for place, token in enumerate(dialogue.ids) if token in slot_ids]
        for place, stop in zip(places, [*places[1:], len(dialogue.ids)], strict=False):
            token = slot_ids[dialogue.ids[place]]
            words = model.encoder.decode(dialogue.ids[place + 1 : stop])
            is_drawn = token == model.recipe.seg_token
            mentions.append(_Mention(token, number, is_drawn, words))
            states.append(dialogue.states[place + 1 + read_at])
    prompted = _prompted(model, batch, mentions, torch.stack(states) if states else None)
    return [
        replace(
            one,
            text=model.encoder.decode(dialogue.ids),
            ids=tuple(dialogue.ids),
            is_cut=not (model.recipe.says_slots_alone or model.encoder.is_over(dialogue.ids)),
        )
        for dialogue, one in zip(written, prompted, strict=True)
    ]


@torch.inference_mode()
def speak_forced(model: Segmenter, batch: Batch) -> list[Spoken]:
    """The prompts of complete dialogues: the text is given, only the slots are read (the released code's validation).

    Where the system can reject, the given tokens only say where to look for what the model would have written, and every slot is
    drawn, in a second pass over the text with all of them `[SEG]` (GSVA, solver.py:221-306 at 618dc79). A slot counts as rejected
    if the most likely token there is `[REJ]`, or is not the `[SEG]` that was given.
    """
    recipe = model.recipe
    with model.autocast():
        states = model.states(batch)
        if recipe.reject_token and batch.slots:
            likely = model.backbone.head(states[batch.slot_at - 1]).argmax(-1).tolist()
            if any(slot.token == recipe.reject_token for slot in batch.slots):
                states = model.states(_all_drawing(model, batch))
        else:
            likely = []
    dialogue_of = {branch: number for number, branch in enumerate(_branches(batch))}
    mentions = [
        _Mention(
            token=_written(model, slot.token, likely[number]) if likely else slot.token,
            branch=dialogue_of[slot.example, slot.branch],
            is_drawn=slot.token not in (recipe.key_token, recipe.score_token),
        )
        for number, slot in enumerate(batch.slots)
    ]
    return _prompted(model, batch, mentions, model.slot_states(states, batch) if mentions else None)


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
    """(example, branch within the example) of every dialogue, in the order of `batch.laid`."""
    examples = [laid.example for laid in batch.laid]
    return [(example, examples[:number].count(example)) for number, example in enumerate(examples)]


def _prompted(
    model: Segmenter, batch: Batch, mentions: Sequence[_Mention], states_SD: Tensor | None
) -> list[Spoken]:
    """For each dialogue its slots with their prompts and numbers, without its text."""
    queries = None if states_SD is None else model.queries(states_SD)
    prompts = () if queries is None else model.prompts(queries, mentions).unbind(0)
    values: list[float] = []
    if queries is not None and isinstance(model.project, ScoreModule):
        values = scores_of(model.project, queries).tolist()
    keys = paired(mentions, draws=model.recipe.seg_token, keys=model.recipe.key_token)
    found = []
    for dialogue in range(len(batch.laid)):
        slots = [
            number
            for number, one in enumerate(mentions)
            if one.branch == dialogue and one.token != model.recipe.key_token
        ]
        tokens = tuple(mentions[slot].token for slot in slots)
        key_of = [keys[slot] for slot in slots]
        found.append(
            Spoken(
                text="",
                ids=(),
                status=status_of(tokens, model.recipe.reject_token),
                tokens=tokens,
                prompts=tuple(prompts[slot] if mentions[slot].is_drawn else None for slot in slots),
                keywords=tuple("" if key is None else _keyword(mentions[key].words) for key in key_of)
                if model.recipe.key_token
                else (),
                values=tuple(values[slot] for slot in slots) if values else (),
            )
        )
    return found


def _keyword(words: str) -> str:
    """What was written behind `[KEY]`, without the punctuation that ends the sentence."""
    return words.strip().rstrip(".").strip()
