"""Which image patches some attention heads of the tiny LLaVA are taught to attend to while it reads and answers.

Some heads of the first layers learn to go from the word for an attribute, or from a fact that means it, to the things that have
it; some heads of the next layers go from an answer to what its question is about, and from the words for one of several things to
that one. Without these lessons naming the right thing took several times as many steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seglm.bases.packing import Packed
from seglm.bases.patch_lessons import ATTRIBUTES, filled_by
from seglm.bases.scene_cache import DrawnScenes
from seglm.dataset.toy.asking import Question
from seglm.dataset.toy.scenes import Scene, Thing

WORD_LAYERS = (0, 1)  # of the language model, where it is taught what a word or a fact is at
ANSWER_LAYERS = (2, 3)  # where it is taught what an answer is at
TAUGHT_HEADS = 2  # the first of each of these layers

Place = tuple[int, int]  # (row, position)
Shares = NDArray[np.floating[Any]]  # [P], of each patch
Aim = tuple[Place, Shares]


def attention_targets(
    words: Mapping[str, Tensor], batch: DrawnScenes, packed: Packed
) -> dict[int, tuple[Tensor, Tensor]]:
    """Where some states should attend: layer -> (int64 [G, 2] (row, position), float [G, P], a state's shares sum to 1).

    Early layers: the word for an attribute, and the last word of a fact that means it, to all things that have it. Later ones:
    the answer, to what its question is about.
    """
    filled = [
        filled_by(owners, len(scene.things)) for owners, scene in zip(batch.owners, batch.scenes, strict=True)
    ]
    answers: list[Aim] = []
    for question, start, end in packed.spans:
        if question.targets:
            row = int(packed.predicts[start, 0])
            said = _targets_by_token(question, batch.scenes[row], words, packed.answers[start:end])
            for at, things in zip(range(start, end), said, strict=True):
                answers.append(((row, int(packed.predicts[at, 1])), filled[row][:, things].sum(1)))
    read = words_read(words, [scene.things for scene in batch.scenes], filled, packed)
    return stacked(dict.fromkeys(WORD_LAYERS, read) | dict.fromkeys(ANSWER_LAYERS, answers))


def words_read(
    words: Mapping[str, Tensor],
    things: Sequence[Sequence[Thing]],
    filled: Sequence[NDArray[np.floating[Any]]],
    packed: Packed,
) -> list[Aim]:
    """From the words for attributes and the facts that mean one to the things that have it.

    things: of each row; filled: of each row float [P, N], the share of each patch that each thing fills.
    """
    read: list[Aim] = []
    for name, value, (row, place) in _attributes_read(words, packed):
        same = [i for i, thing in enumerate(things[row]) if getattr(thing, name) == value]
        if same:
            read.append(((row, place), filled[row][:, same].sum(1)))
    return read


def stacked(aims: Mapping[int, Sequence[Aim]]) -> dict[int, tuple[Tensor, Tensor]]:
    """Aims by layer -> the same as tensors, see `attention_targets`; without those that nothing fills, and layers without any."""
    targets: dict[int, tuple[Tensor, Tensor]] = {}
    for layer, all_aimed in aims.items():
        aimed = [(place, there) for place, there in all_aimed if there.any()]
        if aimed:
            places = torch.tensor([place for place, _ in aimed])
            shares = torch.from_numpy(np.stack([there / there.sum() for _, there in aimed])).float()
            targets[layer] = places, shares
    return targets


def missed(logits: Tensor, wanted: Tensor) -> Tensor:
    """How far heads are from attending as wanted: logits [G, heads, V], wanted [G, V] -> cross entropy."""
    return -(wanted[:, None] * logits.log_softmax(-1)).sum(-1).mean()


def _attributes_read(words: Mapping[str, Tensor], packed: Packed) -> Iterator[tuple[str, str, Place]]:
    """Every place where an attribute is named or meant by a fact: (field of Thing, value, place); not of facts asked alone."""
    for name, values in ATTRIBUTES.items():
        for token, value in zip(words[name].tolist(), values, strict=True):
            for row, place in (packed.ids == token).nonzero().tolist():
                yield name, value, (row, place)
    for question, fact, place in packed.facts:
        if question.kind != "fact":
            yield fact.attribute, fact.value, place


def _targets_by_token(
    question: Question, scene: Scene, words: Mapping[str, Tensor], answer: Tensor
) -> list[list[int]]:
    """The things that each token of an answer is about: all of them until one has been named, then one after the other."""
    order = sorted(question.targets, key=lambda i: scene.things[i].x)
    is_cell = torch.isin(answer, words["cell"])
    named = (is_cell.cumsum(0) - is_cell.long()).tolist()  # before this token
    return [_about(order, number, bool(cell)) for number, cell in zip(named, is_cell, strict=True)]


def _about(order: list[int], named: int, is_cell: bool) -> list[int]:
    if named == 0:
        return order
    return [order[min(named - 1 + is_cell, len(order) - 1)]]
