"""ReasonSeg: a picture and a JSON file with polygons and texts; explanations of training pictures stand in a list of their own.

Added to the real format: "kind", aligned with "text", which its readers do not look at.
"""

import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from seglm.dataset.toy.language import Phrase
from seglm.dataset.toy.layouts.outlines import pixel_polygons
from seglm.dataset.toy.layouts.shots import Shot, mask_of, positives, save_json, save_shot
from seglm.dataset.toy.scenes import GRID, Mask

FOLDER = Path("reason_seg/ReasonSeg")
KIND_SHARES = {  # mostly reasoning, but every kind that has a referent, so that one data set scores them all
    "reasoning": 0.34,
    "multi": 0.28,  # seldom elsewhere, and one answer has to cover several things
    "part": 0.08,
    "attribute": 0.06,
    "position": 0.06,
    "relation": 0.06,
    "superlative": 0.06,
    "class": 0.06,
}
MAX_TEXTS = 3  # of one picture
ROUNDS = 3  # of the language, to find several wordings of one thing
IGNORE_ODDS = 0.15  # of a spot at the edge of the target that nobody is scored on
IGNORE_RADIUS = 5  # px of the 128 grid


def write_reasonseg(root: Path, shots: Iterable[Shot], *, count: int) -> int:
    """Write `count` pictures with their JSON; for the train split also explanatory/train.json and KeySeg's keywords.

    `shots` may be endless: a shot is left out if nothing can be said about it of the kind that it draws.
    Returns the number of pictures.
    """
    written, explanations, keywords, split = 0, [], [], ""
    fit = ((shot, chosen) for shot in shots if (chosen := _choose(shot)))
    for shot, chosen in islice(fit, count):
        split, written = shot.split, written + 1
        stem = f"{shot.number:09d}_{split}"
        (root / FOLDER / split).mkdir(parents=True, exist_ok=True)
        save_shot(shot, root / FOLDER / split / f"{stem}.jpg")
        save_json(_record(shot, chosen, f"{stem}.jpg"), root / FOLDER / split / f"{stem}.json")
        words = {"query": chosen[0].text, "outputs": chosen[0].explanation or ""}
        entry = {"image": f"{stem}.jpg", **words, "json": f"{stem}.json"}
        keywords.append({**entry, "keyword": chosen[0].keyword})
        if chosen[0].explanation is not None:
            explanations.append(entry)
    if split == "train":
        save_json(explanations, root / FOLDER / "explanatory" / "train.json")
        save_json(keywords, root / FOLDER / "explanatory_key" / "keyword_outputs.json")
    return written


def _choose(shot: Shot) -> list[Phrase]:
    """Phrases of one kind about the same thing; empty if there are none of the kind that is drawn by KIND_SHARES.

    Drawing among the kinds that the scene allows would crowd some of them into the scenes with few things.
    """
    kind = str(shot.rng("reasonseg kind").choice(list(KIND_SHARES), p=list(KIND_SHARES.values())))
    of_kind = [
        phrase
        for phrase in positives(shot, "reasonseg", rounds=ROUNDS)
        if phrase.kind == kind and not _is_most_of(shot, phrase)
    ]
    return [phrase for phrase in of_kind if _meaning(phrase) == _meaning(of_kind[0])][:MAX_TEXTS]


def _is_most_of(shot: Shot, phrase: Phrase) -> bool:
    """True if several things are meant that are more than half of the picture's: who marks everything then scores by that."""
    return len(phrase.targets) > 1 and 2 * len(phrase.targets) > len(shot.scene.things)


def _meaning(phrase: Phrase) -> tuple[object, ...]:
    """Equal for phrases that may stand in one JSON file."""
    return phrase.targets, phrase.part, phrase.is_sentence


def _record(shot: Shot, chosen: list[Phrase], image_name: str) -> dict[str, object]:
    mask, rng = mask_of(shot.scene, chosen[0]), shot.rng("reasonseg ignore")
    shapes = [_shape("target", points, image_name) for points in pixel_polygons(mask)]
    if rng.random() < IGNORE_ODDS:
        shapes += [_shape("ignore", points, image_name) for points in pixel_polygons(_spot(mask, rng))]
    return {
        "shapes": shapes,
        "text": [phrase.text for phrase in chosen],
        "is_sentence": chosen[0].is_sentence,
        "kind": [phrase.kind for phrase in chosen],
    }


def _shape(label: str, points: list[list[float]], image_name: str) -> dict[str, object]:
    return {
        "label": label,
        "labels": [label],
        "shape_type": "polygon",
        "image_name": image_name,
        "points": points,
        "group_id": None,
        "group_ids": [None],
        "flags": {},
    }


def _spot(mask: Mask, rng: np.random.Generator) -> Mask:
    """A disc round a pixel of the mask that has a neighbour outside, as if the annotator was not sure of the border there."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    border = np.argwhere(mask & ~inner)
    row, column = border[int(rng.integers(len(border)))]
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    distance = np.hypot(rows - row, columns - column)
    return np.asarray(distance <= math.ceil(IGNORE_RADIUS * mask.shape[1] / GRID))
