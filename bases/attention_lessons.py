"""Where the talking base is taught to look while it reads and answers.

Some heads of the first layers learn that the word for a look is at the things of that look, and so are the words of a fact
about it; some heads of the next layers learn that an answer is at what its question is about, and the words for one of several
things at that one. Without these lessons naming the right thing took several times as many steps.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seglm.bases.packing import Packed
from seglm.bases.patch_lessons import LOOKS, filled_by
from seglm.bases.scene_cache import Drawn
from seglm.dataset.toy.asking import Question
from seglm.dataset.toy.scenes import Scene

WORD_GAZE_LAYERS = (0, 1)
GAZE_LAYERS, GAZE_HEADS = (
    (2, 3),
    2,
)  # of the language model: where it is taught to look at what it is asked about


Place = tuple[int, int]  # (row, position)


def aims_of(words: Mapping[str, Tensor], batch: Drawn, packed: Packed) -> dict[int, tuple[Tensor, Tensor]]:
    """Where some states should look: layer -> (int64 [G, 2] (row, position), float [G, P], shares of the patches that sum to 1).

    Early layers: the word for a look, and the last word of a fact about it, at all things of that look. Later ones: the
    answer, at what its question is about.
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
    for name, value, (row, place) in _looks_read(words, packed):
        same = [i for i, thing in enumerate(batch.scenes[row].things) if getattr(thing, name) == value]
        if same:
            read.append(((row, place), filled[row][:, same].sum(1)))
    aims: dict[int, tuple[Tensor, Tensor]] = {}
    for layers, aimed in ((WORD_GAZE_LAYERS, read), (GAZE_LAYERS, answers)):
        if not aimed:
            continue
        places = torch.tensor([place for place, _ in aimed])
        shares = torch.from_numpy(np.stack([there / there.sum() for _, there in aimed])).float()
        aims |= dict.fromkeys(layers, (places, shares))
    return aims


def _looks_read(words: Mapping[str, Tensor], packed: Packed) -> Iterator[tuple[str, str, Place]]:
    """Every place where a look is named or meant by a fact: (field of Thing, value, place); facts asked alone are left out."""
    for name, values in LOOKS.items():
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
