"""The losses that train the tiny LLaVA: first what its vision tower says of each patch, then what it answers.

The tower is warmed up by throw-away heads that say for every patch which thing is there (colour, shape, size, material) and where
its box lies; then tower, projector and language model learn together from questions and answers.
Letters: N images, P patches, T tokens of a packed row, D width.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from seglm.bases.attention_lessons import TAUGHT_HEADS, attention_targets, missed
from seglm.bases.packing import Packed
from seglm.bases.patch_lessons import ATTRIBUTES, BOX_SIDES, patch_truths
from seglm.bases.scene_cache import FILTERS, DrawnScenes
from seglm.bases.tiny_llava import TinyLlava, hidden_states, vision_features
from seglm.dataset.toy.asking import CELLS

HEAD_WEIGHTS = {"shape": 5.0, "size": 2.0}  # shape is the slow one
KEPT_PATCHES = 24  # of 64 patches, when only the tower is trained
SPOKEN_WEIGHT = 0.5
PLACE_WEIGHT = 3.0  # of the centre and the spread as three numbers, of which a change of place or of size is a difference
FACT_LAYERS, FACT_WEIGHT = (
    (0, 1),
    0.5,
)  # of the language model: where a fact becomes the attribute that it means


def tower_loss(
    base: TinyLlava, batch: DrawnScenes, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """What the tower says of the patches that show things, once by the throw-away heads, once in words.

    In words: a projected patch is compared with the embeddings of the words of each attribute (and of the cell of its thing's
    centre), and with the rows of the language head, so that seeing and saying start out in one space. Ground is value 0 of every
    head. Only KEPT_PATCHES patches are run, things first: ground teaches nothing and is three quarters of an image.
    """
    truths = patch_truths(batch)
    kept = np.sort(
        np.argsort(1.0 * (truths["colour"] == 0) + rng.random(truths["colour"].shape), axis=1)[
            :, :KEPT_PATCHES
        ],
        axis=1,
    )
    which = rng.integers(0, len(FILTERS), len(kept))
    features = vision_features(
        base.llava, batch.pictures[np.arange(len(which)), which], kept=torch.from_numpy(kept)
    ).flatten(0, 1)
    total, right = torch.zeros(()), {}
    values = {
        name: torch.from_numpy(np.take_along_axis(truth, kept, axis=1)).flatten()
        for name, truth in truths.items()
    }
    seen = values["colour"] > 0
    for name in (*ATTRIBUTES, *BOX_SIDES):
        logits = base.dense[name](features)
        total = total + HEAD_WEIGHTS.get(name, 1.0) * F.cross_entropy(logits, values[name])
        right[f"dense_{name}"] = float((logits.argmax(1) == values[name])[seen].float().mean())
    spoken, said_right = _spoken_loss(
        base, features[seen], {name: value[seen] for name, value in values.items()}
    )
    return total / len(base.dense) + SPOKEN_WEIGHT * spoken, right | said_right


def _spoken_loss(
    base: TinyLlava, features: Tensor, values: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    llava, total, right = base.llava, torch.zeros(()), {}
    shown = llava.model.multi_modal_projector(features)
    level = shown * torch.rsqrt(shown.square().mean(-1, keepdim=True) + 1e-5)
    for name, ids in base.words.items():
        truth = values[name] - 1
        heard = level @ llava.model.language_model.embed_tokens.weight[ids].T
        told = llava.model.language_model.norm(shown) @ llava.lm_head.weight[ids].T
        total = total + F.cross_entropy(heard, truth) + F.cross_entropy(told, truth)
        right[f"said_{name}"] = float((told.argmax(1) == truth).float().mean())
    centre = torch.stack([values["left"] + values["right"], values["top"] + values["bottom"]], dim=1)
    wanted = torch.cat([(centre - 2) / CELLS - 1, values["spread"][:, None].float()], dim=1)
    misplaced = F.smooth_l1_loss(base.place(level), wanted, beta=0.1)
    right["misplaced"] = float(misplaced.detach())
    return total / (2 * len(base.words)) + PLACE_WEIGHT * misplaced, right


def talk_loss(
    base: TinyLlava, batch: DrawnScenes, packed: Packed, *, which: NDArray[np.int64], attention_weight: float
) -> tuple[Tensor, Mapping[str, float]]:
    """Cross entropy of the answers (mean over answer tokens), of where the model looks while it answers, and of what it makes
    of a fact.

    which: int [N], the filter by which each picture was shrunk. attention_weight: of the second term, which only training knows.
    """
    attention: list[Tensor] = []
    layer_states: list[Tensor] = []
    targets = attention_targets(base.words, batch, packed)
    features = vision_features(base.llava, batch.pictures[np.arange(len(which)), which])
    watched = {layer: places for layer, (places, _) in targets.items()}
    hidden = hidden_states(
        base.llava, packed, features, watched=watched, attention=attention, layer_states=layer_states
    )
    loss, right = answer_loss(base, packed, hidden)
    values = {"answer": float(loss.detach()), "token_right": right}
    for (layer, (_, wanted)), logits in zip(sorted(targets.items()), attention, strict=True):
        gaze = missed(logits[:, :TAUGHT_HEADS, packed.image_start :], wanted)
        loss = loss + attention_weight / len(targets) * gaze
        values[f"gaze{layer}"] = float(gaze.detach())
    if packed.facts:
        meant, values["meant"] = fact_loss(base, packed, [layer_states[layer] for layer in FACT_LAYERS])
        loss = loss + FACT_WEIGHT * meant
    return loss, values


def answer_loss(base: TinyLlava, packed: Packed, hidden: Tensor) -> tuple[Tensor, float]:
    """Cross entropy of the tokens of the answers, float [], and the share of them that is right, 0 to 1. hidden: [A, D]."""
    logits = base.llava.lm_head(hidden)
    return F.cross_entropy(logits, packed.answers), float((logits.argmax(1) == packed.answers).float().mean())


def fact_loss(base: TinyLlava, packed: Packed, layer_states: Sequence[Tensor]) -> tuple[Tensor, float]:
    """Knowledge, for which nobody has to look: after a fact's last word the first layers hold what the word that it means is.

    The state is compared with the embeddings of all words of that sort ("a lemon" with red, green, ...). So a fact that is
    never asked of a picture is looked for like one that is.
    """
    embedded, total, right = base.llava.model.language_model.embed_tokens.weight, torch.zeros(()), []
    for name in ATTRIBUTES:
        told = [(fact.value, place) for _, fact, place in packed.facts if fact.attribute == name]
        if not told:
            continue
        rows, columns = torch.tensor([place for _, place in told]).unbind(1)
        truth = torch.tensor([ATTRIBUTES[name].index(value) for value, _ in told])
        for thought in layer_states:
            state = thought[rows, columns]
            level = state * torch.rsqrt(state.square().mean(-1, keepdim=True) + 1e-5)
            logits = level @ embedded[base.words[name]].T
            total = total + F.cross_entropy(logits, truth, reduction="sum") / (
                len(layer_states) * len(packed.facts)
            )
            right.append((logits.argmax(1) == truth).float())
    return total, float(torch.cat(right).mean())
