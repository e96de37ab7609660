"""Which image patches some attention heads of the tiny LLaVA are taught to attend to while it reads and answers.

Some heads of the first layers learn to go from the word for an attribute, or from a fact that means it, to the things that have
it; some heads of the next layers go from an answer to what its question is about, and from the words for one of several things to
that one. Without these lessons naming the right thing took several times as many steps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
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
    shares_of = [all_of(one) for one in filled]
    answers: list[Aim] = []
    rows, places = packed.predicts.T.tolist()
    cells, answered = set(words["cell"].tolist()), packed.answers.tolist()
    for question, start, end in packed.spans:
        if question.targets:
            row = rows[start]
            said = _targets_by_token(question, batch.scenes[row], cells, answered[start:end])
            for at, things in zip(range(start, end), said, strict=True):
                answers.append(((row, places[at]), shares_of[row](things)))
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
    shares_of = [all_of(one) for one in filled]
    for name, value, (row, place) in _attributes_read(words, packed):
        same = [i for i, thing in enumerate(things[row]) if getattr(thing, name) == value]
        if same:
            read.append(((row, place), shares_of[row](same)))
    return read


def stacked(aims: Mapping[int, Sequence[Aim]]) -> dict[int, tuple[Tensor, Tensor]]:
    """Aims by layer -> the same as tensors, see `attention_targets`; without those that nothing fills, and layers without any."""
    targets: dict[int, tuple[Tensor, Tensor]] = {}
    made: dict[int, tuple[Tensor, Tensor]] = {}  # layers often share their aims
    for layer, aimed in aims.items():
        if not aimed:
            continue
        if id(aimed) not in made:
            there = np.stack([share for _, share in aimed])
            total = there.sum(1)
            seen = total > 0
            shares = torch.from_numpy(there[seen] / total[seen, None]).float()
            made[id(aimed)] = torch.tensor([place for place, _ in aimed])[torch.from_numpy(seen)], shares
        if len(made[id(aimed)][0]):
            targets[layer] = made[id(aimed)]
    return targets


def all_of(filled: Shares) -> Callable[[Sequence[int]], Shares]:
    """filled: [P, N], of each thing -> what some things fill together, [P]; every sum is made once."""
    sums: dict[tuple[int, ...], Shares] = {}

    def together(things: Sequence[int]) -> Shares:
        key = tuple(things)
        if key not in sums:
            sums[key] = filled[:, list(key)].sum(1)
        return sums[key]

    return together


def missed(logits: Tensor, wanted: Tensor) -> Tensor:
    """How far heads are from attending as wanted: logits [G, heads, V], wanted [G, V] -> cross entropy."""
    return -(wanted[:, None] * logits.log_softmax(-1)).sum(-1).mean()


def _attributes_read(words: Mapping[str, Tensor], packed: Packed) -> Iterator[tuple[str, str, Place]]:
    """Every place where an attribute is named or meant by a fact: (field of Thing, value, place); not of facts asked alone."""
    named = {
        token: (name, value)
        for name, values in ATTRIBUTES.items()
        for token, value in zip(words[name].tolist(), values, strict=True)
    }
    for row, line in enumerate(packed.ids.tolist()):
        for column, token in enumerate(line):
            if token in named:
                yield *named[token], (row, column)
    for question, fact, place in packed.facts:
        if question.kind != "fact":
            yield fact.attribute, fact.value, place


def _targets_by_token(
    question: Question, scene: Scene, cells: AbstractSet[int], answer: Sequence[int]
) -> list[list[int]]:
    """The things that each token of an answer is about: all of them until one has been named, then one after the other."""
    order = sorted(question.targets, key=lambda i: scene.things[i].x)
    named, said = 0, []  # how many things before this token
    for token in answer:
        is_cell = token in cells
        said.append(_about(order, named, is_cell))
        named += is_cell
    return said


def _about(order: list[int], named: int, is_cell: bool) -> list[int]:
    if named == 0:
        return order
    return [order[min(named - 1 + is_cell, len(order) - 1)]]
