"""Where the talking base is taught to look while it reads and answers.

Some heads of the first layers learn that the word for a look is at the things of that look, some heads of the next layers that
an answer is at what its question is about. Without these lessons naming the right thing took several times as many steps.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seglm.bases.packing import Packed
from seglm.bases.patches import LOOKS, filled_by
from seglm.bases.stock import Drawn

WORD_GAZE_LAYERS = (0, 1)
GAZE_LAYERS, GAZE_HEADS = (
    (2, 3),
    2,
)  # of the language model: where it is taught to look at what it is asked about


def aims_of(words: Mapping[str, Tensor], batch: Drawn, packed: Packed) -> dict[int, tuple[Tensor, Tensor]]:
    """Where some states should look: layer -> (int64 [G, 2] (row, position), float [G, P], shares of the patches that sum to 1).

    Early layers: the word for a look, at all things of that look. Later ones: the answer, at what its question is about.
    """
    filled = [
        filled_by(owners, len(scene.things)) for owners, scene in zip(batch.owners, batch.scenes, strict=True)
    ]
    answers: list[tuple[tuple[int, int], NDArray[np.float64]]] = []
    for question, start, end in packed.spans:
        if question.targets:
            row = int(packed.predicts[start, 0])
            there = filled[row][:, list(question.targets)].sum(1)
            answers += [((row, int(packed.predicts[at, 1])), there) for at in range(start, end)]
    read: list[tuple[tuple[int, int], NDArray[np.float64]]] = []
    for name, values in LOOKS.items():
        for token, value in zip(words[name].tolist(), values, strict=True):
            for row, place in (packed.ids == token).nonzero().tolist():
                same = [
                    i for i, thing in enumerate(batch.scenes[row].things) if getattr(thing, name) == value
                ]
                if same:
                    read.append(((row, place), filled[row][:, same].sum(1)))
    aims: dict[int, tuple[Tensor, Tensor]] = {}
    for layers, aimed in ((WORD_GAZE_LAYERS, read), (GAZE_LAYERS, answers)):
        places = torch.tensor([place for place, _ in aimed])
        shares = torch.from_numpy(np.stack([there / there.sum() for _, there in aimed])).float()
        aims |= dict.fromkeys(layers, (places, shares))
    return aims
