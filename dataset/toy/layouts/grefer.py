"""gRefCOCO and Ref-ZOM: instances.json and a file of refs; a ref means one thing, several, or nothing that is there.

No text tells whether anything fits it. A wording is drawn with both fillings, it is kept or left out for the sake of both, and
only then a coin that knows neither the scene nor the words says which of the two is asked (tests/toy/text_only.py measures it).
Added to the real format: "kind" in each sentence, which its readers do not look at.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from seglm.dataset.toy.crowds import couple_form, crowd_form
from seglm.dataset.toy.layouts.coco import name_2014
from seglm.dataset.toy.layouts.outlines import box_of, plain_run_lengths, thing_polygons
from seglm.dataset.toy.layouts.pickles import dump
from seglm.dataset.toy.layouts.refer import (
    FOLDER,
    THINGS_PER_IMAGE,
    Json,
    category_of,
    image_of,
    save_instances,
    sentence_of,
)
from seglm.dataset.toy.layouts.shots import Shot, save_json
from seglm.dataset.toy.referring import Form, attribute_form, position_form, superlative_form
from seglm.dataset.toy.relating import relation_form
from seglm.dataset.toy.scenes import visible_masks
from seglm.dataset.toy.words import Pair, Phrase, choose

NONE_ODDS = 0.3  # of an expression; the real set has 0.12, too few to score on small splits
MULTI_SHARE = 0.3 / (1 - NONE_ODDS)  # of the wordings, so that 0.3 of the expressions mean several things
MULTI_FORMS: tuple[Form, ...] = (crowd_form, couple_form)
SINGLE_FORMS: tuple[Form, ...] = (  # the rarer a form finds something to say, the oftener it is asked
    *(attribute_form,) * 2,
    *(position_form,) * 3,
    *(superlative_form,) * 4,
    *(relation_form,) * 5,
)
TRIES = 80  # wordings that are tried for one picture
CROWD_EVERY = 8  # annotations; one of so many is stored as a crowd is, as run lengths with a list of counts


@dataclass(frozen=True)
class GeneralSet:
    """What tells the two data sets apart."""

    name: str
    """folder in refer_seg"""
    split_by: str
    """first half of a split's name, as the readers call it"""
    splits: tuple[str, ...]
    refs_file: str
    """name of the file of refs: JSON, or a pickle of Python 2"""
    per_image: int
    """expressions of one picture at most"""
    nothing: tuple[int, ...]
    """what stands for the annotations of a ref that means nothing"""


GREFCOCO = GeneralSet("grefcoco", "unc", ("train", "val", "testA", "testB"), "grefs(unc).json", 10, (-1,))
REFZOM = GeneralSet("refzom", "final", ("train", "test"), "Ref_ZOM.p", 4, ())


def write_general(root: Path, general: GeneralSet, splits: Mapping[str, Iterable[Shot]]) -> dict[str, int]:
    """Write both files for split name -> shots; returns the number of expressions of each split. Pictures are not written."""
    images: list[Json] = []
    annotations: list[Json] = []
    refs: list[Json] = []
    counts = {}
    for split, shots in splits.items():
        before = len(refs)
        for shot, phrases in expressions(shots, general):
            images.append(image_of(shot, name_2014(shot)))
            annotations += _annotations(shot)
            for phrase in phrases:
                refs.append(_ref(general, shot, phrase, split, len(refs) + 1))
        counts[split] = len(refs) - before
    folder = root / FOLDER / general.name
    save_instances(images, annotations, folder)
    if general.refs_file.endswith(".json"):
        save_json(refs, folder / general.refs_file)
    else:
        (folder / general.refs_file).write_bytes(dump(refs))
    return counts


def expressions(shots: Iterable[Shot], general: GeneralSet) -> Iterator[tuple[Shot, list[Phrase]]]:
    """The expressions about each shot; a shot about which nothing can be said is left out."""
    shares = _Shares()
    for shot in shots:
        rng = shot.rng(general.name)
        pairs = list(islice(_pairs(shot, rng, shares), general.per_image))
        if pairs:
            yield shot, [_fill(pair, rng) for pair in pairs]


@dataclass
class _Shares:
    """How many wordings of all pictures so far name one thing or several: not every picture allows both."""

    num: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})

    def wants_multi(self) -> bool:
        return self.num[True] <= MULTI_SHARE * sum(self.num.values())


def _pairs(shot: Shot, rng: np.random.Generator, shares: _Shares) -> Iterator[Pair]:
    """Wordings with both fillings. Neither filling says what another wording says, and none means everything in the picture."""
    said: set[str] = set()
    for _ in range(TRIES):
        is_multi = shares.wants_multi()
        pair = choose(MULTI_FORMS if is_multi else SINGLE_FORMS, rng)(shot.scene, rng, shot.split)
        if pair is None or pair.absent is None or len(pair.there.targets) == len(shot.scene.things):
            continue
        texts = {pair.there.text, pair.absent.text}
        if texts & said:
            continue
        said |= texts
        shares.num[is_multi] += 1
        yield pair


def _fill(pair: Pair, rng: np.random.Generator) -> Phrase:
    """One of the two fillings, by a coin that falls alike for all wordings."""
    return pair.absent if pair.absent is not None and rng.random() < NONE_ODDS else pair.there


def _annotations(shot: Shot) -> Iterator[Json]:
    for index, mask in enumerate(visible_masks(shot.scene)):
        number = _annotation_id(shot, index)
        is_crowd = number % CROWD_EVERY == 0
        yield {
            "segmentation": plain_run_lengths(mask) if is_crowd else thing_polygons(shot.scene, index),
            "area": float(mask.sum()),
            "iscrowd": int(is_crowd),
            "image_id": shot.number,
            "bbox": box_of(mask),
            "category_id": category_of(shot, index),
            "id": number,
        }


def _ref(general: GeneralSet, shot: Shot, phrase: Phrase, split: str, number: int) -> Json:
    record: Json = {
        "image_id": shot.number,
        "split": split,
        "sentences": [sentence_of(phrase, number)],
        "file_name": name_2014(shot),
        "category_id": [category_of(shot, index) for index in phrase.targets] or list(general.nothing),
        "ann_id": [_annotation_id(shot, index) for index in phrase.targets] or list(general.nothing),
        "sent_ids": [number],
        "ref_id": number,
    }
    if general is REFZOM:
        return record | {"source": ("zero", "one", "many")[min(len(phrase.targets), 2)]}
    return record | {"no_target": not phrase.targets}


def _annotation_id(shot: Shot, index: int) -> int:
    return shot.number * THINGS_PER_IMAGE + index
