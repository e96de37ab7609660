"""What the tiny LLaVA is asked about clips, and where it is taught to look while it answers."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from seglm.bases.attention_lessons import (
    ANSWER_LAYERS,
    TAUGHT_HEADS,
    WORD_LAYERS,
    Aim,
    all_of,
    missed,
    stacked,
    words_read,
)
from seglm.bases.clip_showing import Showing, clip_features
from seglm.bases.motion_lessons import deeds_told, motion_lessons, tracks_of
from seglm.bases.packing import CHUNKS, Packed, Packer
from seglm.bases.tiny_llava import TinyLlava, hidden_states
from seglm.bases.tiny_llava_losses import FACT_LAYERS, FACT_WEIGHT, answer_loss, fact_loss
from seglm.dataset.toy.asking import NOWHERE
from seglm.dataset.toy.watching import DOES, WATCH, Watched, clip_questions, meaning_question, order_of


def questions_about(shown: Showing, rng: np.random.Generator, *, held_out: bool = False) -> list[Watched]:
    """The questions about a clip; `held_out`: with the wordings that training never uses."""
    return clip_questions(
        shown.drawn.clip, shown.spots(), rng, split="val" if held_out else "train", draw=True
    )


def meanings(rng: np.random.Generator) -> list[Watched]:
    """As many questions without a look at a clip as a row needs at least."""
    return [meaning_question(rng, split="train") for _ in range(CHUNKS)]


def watch_loss(
    base: TinyLlava, rows: Sequence[Showing], packer: Packer, packed: Packed, *, attention_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the answers, where it looks, and the lessons about motion."""
    attention: list[Tensor] = []
    states: list[Tensor] = []
    read = words_read(base.words, [row.things for row in rows], [row.filled for row in rows], packed)
    answers = [*_answer_aims(base.words, rows, packer, packed), *_deed_aims(rows, packer, packed)]
    targets = stacked(dict.fromkeys(WORD_LAYERS, read) | dict.fromkeys(ANSWER_LAYERS, answers))
    tracks = tracks_of(rows, packed)
    watched = {layer: places for layer, (places, _) in targets.items()}
    for layer in WORD_LAYERS:
        watched[layer] = torch.cat([watched[layer], *(places for places, _ in tracks)])
    features = clip_features(base.llava, rows)
    hidden = hidden_states(
        base.llava, packed, features, watched=watched, attention=attention, layer_states=states
    )
    loss, right = answer_loss(base, packed, hidden)
    values = {"watch": float(loss.detach()), "watch_right": right}
    on_tracks = []
    for layer, seen in zip(sorted(watched), attention, strict=True):
        wanted = targets[layer][1]
        looked = seen[: len(wanted), :TAUGHT_HEADS, packed.image_start :]
        loss = loss + attention_weight / len(targets) * missed(looked, wanted)
        on_tracks.append(seen[len(wanted) :])
    lessons, learnt = motion_lessons(
        base, rows, packer, packed, tracks, on_tracks[: len(WORD_LAYERS)], states, attention_weight
    )
    if packed.facts:
        loss = loss + FACT_WEIGHT * fact_loss(base, packed, [states[layer] for layer in FACT_LAYERS])[0]
    return loss + lessons, values | learnt


def _deed_aims(rows: Sequence[Showing], packer: Packer, packed: Packed) -> list[Aim]:
    """From the words for a deed to what does it in the last frame, whose patches know, or wherever it is seen."""
    aims: list[Aim] = []
    for question, row, place in deeds_told(packer, packed):
        things = list(question.targets)
        if things:
            last, anywhere = (x[:, things].sum(1) for x in (rows[row].by_frame[-1], rows[row].filled))
            aims.append(((row, place), last if last.any() else anywhere))
    return aims


def _answer_aims(
    words: Mapping[str, Tensor], rows: Sequence[Showing], packer: Packer, packed: Packed
) -> list[Aim]:
    """From the tokens of an answer to the thing that each is about: a cell in its frame, all else in every frame."""
    cells = {*words["cell"].tolist(), *packer.word_ids([NOWHERE])}
    article = packer.word_ids(["the"])[0]
    aims: list[Aim] = []
    lines, places = packed.predicts.T.tolist()
    answered = packed.answers.tolist()
    shares_of = [[all_of(one) for one in (row.filled, *row.by_frame)] for row in rows]
    for question, start, end in packed.spans:
        if question.kind not in (WATCH, DOES) or not question.targets:
            continue
        row = lines[start]
        order = order_of(rows[row].drawn.clip.scenes[0], question.targets)
        said, is_named = 0, False
        for at in range(start, end):
            token = answered[at]
            is_cell = token in cells
            things = order if not is_named else [order[min(said // 2, len(order) - 1)]]
            anywhere, *by_frame = shares_of[row]
            where = by_frame[-(said % 2)] if is_cell else anywhere
            aims.append(((row, places[at]), where(things)))
            said += is_cell
            is_named = is_named or token == article
    return aims
