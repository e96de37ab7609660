"""Which image patches some attention heads of the tiny LLaVA are taught to attend to while it reads and answers.

Some heads of the first layers learn to go from the word for an attribute, or from a fact that means it, to the things that have
it; some heads of the next layers go from an answer to what its question is about, and from the words for one of several things to
that one. Without these lessons naming the right thing took several times as many steps.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seglm.bases.packing import Packed
from seglm.bases.patch_lessons import ATTRIBUTES, filled_by
from seglm.bases.scene_cache import DrawnScenes
from seglm.dataset.toy.asking import Question
from seglm.dataset.toy.scenes import Scene

WORD_LAYERS = (0, 1)  # of the language model, where it is taught what a word or a fact is at
ANSWER_LAYERS = (2, 3)  # where it is taught what an answer is at
TAUGHT_HEADS = 2  # the first of each of these layers

Place = tuple[int, int]  # (row, position)


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
    answers: list[tuple[Place, NDArray[np.float64]]] = []
    for question, start, end in packed.spans:
        if question.targets:
            row = int(packed.predicts[start, 0])
            said = _targets_by_token(question, batch.scenes[row], words, packed.answers[start:end])
            for at, things in zip(range(start, end), said, strict=True):
                answers.append(((row, int(packed.predicts[at, 1])), filled[row][:, things].sum(1)))
    read: list[tuple[Place, NDArray[np.float64]]] = []
    for name, value, (row, place) in _attributes_read(words, packed):
        same = [i for i, thing in enumerate(batch.scenes[row].things) if getattr(thing, name) == value]
        if same:
            read.append(((row, place), filled[row][:, same].sum(1)))
    targets: dict[int, tuple[Tensor, Tensor]] = {}
    for layers, aimed in ((WORD_LAYERS, read), (ANSWER_LAYERS, answers)):
        if not aimed:
            continue
        places = torch.tensor([place for place, _ in aimed])
        shares = torch.from_numpy(np.stack([there / there.sum() for _, there in aimed])).float()
        targets |= dict.fromkeys(layers, (places, shares))
    return targets


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
