"""Captions of regions that are pointed at: asked for, read, scored."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.dataset.faults import blamed
from seglm.dataset.fields import take
from seglm.dataset.readers.files import read_json
from seglm.evaluation.asking.ask import ask as ask_model
from seglm.evaluation.scores.captions import cider, meteor
from seglm.evaluation.scores.files import each_once
from seglm.evaluation.scores.grounded import Likeness
from seglm.evaluation.told.captions import TAG, Chosen
from seglm.utils.types import Sample

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

QUESTION = "Please give me a short description of the region in the picture marked by region1."
"""projects/sa2va/evaluation/region_cap_refcocog_eval.py of bytedance/Sa2VA at 0d8f983"""
OPENING = re.compile(
    r"^\s*(?:the region marked (?:by|as) )?region\s*1\s*(?::|\bis\b|\bshows\b)?\s*", re.IGNORECASE
)
"""what opens an answer and says nothing; the released code takes "is" and "shows" out of all words, also of "this" """
FILE = "regions.json"


@dataclass(frozen=True)
class Score:
    n: int
    """regions"""
    meteor: float
    """0 to 1, see `scores/captions.py`"""
    cider: float
    """0 to 10"""


def ask(model: Segmenter, sample: Sample, *, max_new_tokens: int) -> list[Mapping[str, Any]]:
    """Asks about each region of a sample alone: `image_id` (the region's key) and `caption` of each.

    Raises ValueError if the system cannot be pointed at a region.
    """
    if model.recipe.points is None:
        raise ValueError(f"recipe {model.recipe.name} cannot be pointed at a region; a Sa2VA can")
    rows: list[Mapping[str, Any]] = []
    for key, alone in _alone(sample):
        drawn = next(ask_model(model, alone, QUESTION, max_new_tokens=max_new_tokens))
        rows.append({"image_id": key, "caption": plain(drawn.answers[0].spoken.text)})
    return rows


def write(rows: Iterable[Mapping[str, Any]], out: Path) -> None:
    """FILE, the list of all regions."""
    (out / FILE).write_text(json.dumps(list(rows)), encoding="utf-8")


def score(chosen: Chosen, place: Path, alike: Likeness) -> Mapping[str, Score]:
    """Of a file, or of the one in a folder. Raises ValueError if a region has no caption, or two."""
    file = place / FILE if place.is_dir() else place
    content = read_json(file, "regions")
    with blamed("regions", file):
        rows = [(str(take(one, "image_id", str, int)), take(one, "caption", str)) for one in content]
    told = each_once(rows, f"{file}: two captions of")
    asked = [one for sample in chosen for one in _alone(sample)]
    # Sa2VA's file calls a region as the data set does, ours by the sample's key, too, which numbers in each picture need.
    own = [sample.regions[0].key for _, sample in asked]
    called = Counter(own)
    names = [
        key if key in told or called[name] > 1 else name for (key, _), name in zip(asked, own, strict=True)
    ]
    if missing := [key for (key, _), name in zip(asked, names, strict=True) if name not in told]:
        raise ValueError(f"{file}: no caption of {len(missing)} of {len(asked)} regions, first {missing[0]}")
    captions = [told[name] for name in names]
    true = [sample.regions[0].captions for _, sample in asked]
    return {"all": Score(len(asked), meteor(captions, true)[0], cider(captions, true)[0])}


def plain(text: str) -> str:
    """A caption without tags and without the words that only name the region."""
    return OPENING.sub("", " ".join(TAG.sub(" ", text).split())).strip()


def _alone(sample: Sample) -> Iterator[tuple[str, Sample]]:
    """Each region that has a caption, in a sample of its own."""
    for region in sample.regions:
        if region.captions:
            alone = replace(sample, regions=(region,), turns=(), turn_kinds=())
            yield f"{sample.key}/{region.key}", alone
