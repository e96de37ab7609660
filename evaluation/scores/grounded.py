"""Grounded conversation (GCG): a caption and the masks of its phrases against the true ones, as GLaMM's evaluation scores them.

  METEOR, CIDEr   of the captions, see `captions.py`
  AP50            COCO's average precision of all masks at IoU 0.5, one class, every mask as sure as any other
  mIoU            in each picture masks are paired one to one, the pair of largest IoU first; the mean over its pairs that
                  overlap, then over pictures; a picture without such a pair counts 0
  recall          true phrases that are paired with IoU >= 0.5 and a phrase at least half alike, as a share of all; the pair of
                  largest IoU first
  recall_released the same as the released code counts it: it stops with a picture at the first pair whose phrases are not alike,
                  and so finds no further one (find_best_matches in eval/gcg/evaluate.py of mbzuai-oryx/groundingLMM at dd7ad1a)

How alike two phrases are is a function that the caller gives. GLaMM's is the cosine of BERT's mean states (`bert_likeness`);
`word_likeness` needs no weights: the F1 of the phrases' stems.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from seglm.evaluation.scores.captions import cider, meteor, words_of
from seglm.evaluation.scores.stem import stem

Likeness = Callable[[str, str], float]
"""two phrases -> 0 to 1"""
Run = dict[str, Any]
"""COCO's compressed run lengths: `size`, `counts`"""
LEAST = 0.5  # IoU and likeness of a pair that counts
ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True)
class Told:
    """A picture's caption with its phrases."""

    picture: str
    caption: str
    phrases: tuple[str, ...]
    masks: tuple[Run, ...]
    """of the phrases, in their order; a prediction may have more or fewer of the one than of the other"""


@dataclass(frozen=True)
class Score:
    """Shares from 0 to 1, but for CIDEr, which goes to 10."""

    n: int
    """pictures"""
    meteor: float
    cider: float
    ap50: float
    miou: float
    recall: float
    recall_released: float
    num_phrases: int
    """true ones"""


def score(told: Sequence[Told], true: Sequence[Told], *, alike: Likeness) -> Score:
    """All numbers. told, true: of the same pictures, in one order; a picture without a prediction has an empty caption.

    Raises ValueError if the pictures differ.
    """
    if [one.picture for one in told] != [one.picture for one in true]:
        wrong = next(
            (pair for pair in zip(told, true, strict=False) if pair[0].picture != pair[1].picture), None
        )
        seen = (
            f"{wrong[0].picture!r} where {wrong[1].picture!r} is" if wrong else f"{len(told)} for {len(true)}"
        )
        raise ValueError(f"captions of other pictures than the true ones: {seen}")
    captions, wanted = [one.caption for one in told], [[one.caption] for one in true]
    ious = [iou_of(one.masks, other.masks) for one, other in zip(told, true, strict=True)]
    pairs = [list(paired(table)) for table in ious]
    found = {False: 0, True: 0}
    for table, one, other in zip(ious, told, true, strict=True):
        for released in found:
            found[released] += _hits(table, one.phrases, other.phrases, alike, released=released)
    num_phrases = sum(len(one.phrases) for one in true)
    return Score(
        n=len(true),
        meteor=meteor(captions, wanted)[0],
        cider=cider(captions, wanted)[0],
        ap50=average_precision(told, true),
        miou=float(np.mean([np.mean([iou for _, _, iou in of_picture] or [0.0]) for of_picture in pairs]))
        if true
        else 0.0,
        recall=found[False] / num_phrases if num_phrases else 0.0,
        recall_released=found[True] / num_phrases if num_phrases else 0.0,
        num_phrases=num_phrases,
    )


def iou_of(told: Sequence[Run], true: Sequence[Run]) -> NDArray[np.float64]:
    """float64 [told, true], IoU of each predicted mask with each true one; 0 where both are empty."""
    if not told or not true:
        return np.zeros((len(told), len(true)))
    return np.asarray(coco.iou(list(told), list(true), [0] * len(true)), dtype=np.float64)


def paired(ious: NDArray[np.float64]) -> Iterator[tuple[int, int, float]]:
    """(told, true, IoU) one to one, the largest first; only what overlaps."""
    left = ious.copy()
    while left.size and left.max() > 0:
        told, true = (int(place) for place in np.unravel_index(int(left.argmax()), left.shape))
        yield told, true, float(left[told, true])
        left[told, :] = left[:, true] = 0


def _hits(
    ious: NDArray[np.float64],
    told: Sequence[str],
    true: Sequence[str],
    alike: Likeness,
    *,
    released: bool,
) -> int:
    """True phrases of a picture that are found."""
    left, count = ious.copy(), 0
    while left.size and left.max() >= LEAST:
        # The released code has a row for each true one, and of equal pairs takes the first by rows.
        true_place, told_place = (
            int(place) for place in np.unravel_index(int(left.T.argmax()), left.T.shape)
        )
        is_named = told_place < len(told) and true_place < len(true)
        if is_named and alike(true[true_place], told[told_place]) >= LEAST:
            count += 1
            left[told_place, :] = left[:, true_place] = 0
        elif released:
            break
        else:
            left[told_place, true_place] = 0
    return count


def average_precision(told: Sequence[Told], true: Sequence[Told]) -> float:
    """AP at IoU 0.5 by COCO's own evaluation; 0 where there is no true or no predicted mask."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures = {one.picture: number for number, one in enumerate(true, start=1)}
    sizes = {picture: mask["size"] for picture, mask in _masks(true, pictures)}
    annotations = [
        {
            "id": number,
            "image_id": picture,
            "segmentation": mask,
            "area": float(coco.area(mask)),
            "bbox": _box(mask),
        }
        | {"category_id": 1, "iscrowd": 0}
        for number, (picture, mask) in enumerate(_masks(true, pictures), start=1)
    ]
    given = [
        {"image_id": picture, "category_id": 1, "segmentation": mask, "score": 1.0}
        for picture, mask in _masks(told, pictures)
    ]
    if not annotations or not given:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # it talks
        wanted = COCO()
        wanted.dataset = {
            "images": [
                {"id": number, "height": sizes.get(number, (1, 1))[0], "width": sizes.get(number, (1, 1))[1]}
                for number in pictures.values()
            ],
            "annotations": annotations,
            "categories": [{"id": 1, "name": "object"}],
        }
        wanted.createIndex()
        evaluation = COCOeval(wanted, wanted.loadRes(given), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return max(0.0, float(evaluation.stats[1]))


def _masks(some: Sequence[Told], pictures: dict[str, int]) -> Iterator[tuple[int, Run]]:
    return ((pictures[one.picture], mask) for one in some for mask in one.masks)


def _box(mask: Run) -> list[float]:
    box: list[float] = np.asarray(coco.toBbox(mask)).tolist()
    return box


# ---- how alike two phrases are --------------------------------------------------------------------------------------
def word_likeness(one: str, other: str) -> float:
    """The F1 of the stems of two phrases, articles apart."""
    first, second = (
        Counter(stem(word) for word in words_of(text) if word not in ARTICLES) for text in (one, other)
    )
    shared = sum((first & second).values())
    return 2 * shared / (sum(first.values()) + sum(second.values())) if shared else 0.0


def bert_likeness(folder: Path) -> Likeness:
    """GLaMM's: the cosine of the mean last states of BERT. folder: bert-base-uncased in transformers' layout."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    known: dict[str, Any] = {}

    def state(text: str) -> Any:
        if text not in known:
            with torch.inference_mode():
                given = tokenizer(text, return_tensors="pt", max_length=512, truncation=True)
                known[text] = model(**given).last_hidden_state[0].mean(dim=0)
        return known[text]

    return lambda one, other: float(torch.cosine_similarity(state(one), state(other), dim=0))
