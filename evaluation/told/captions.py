"""Captions whose phrases are masked (GCG): asked for, read, scored."""

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
from seglm.dataset.masks import checked, run_lengths
from seglm.dataset.pipeline import truth
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.stills import Stills
from seglm.evaluation.asking.ask import ask as ask_model
from seglm.evaluation.scores.grounded import Likeness, Run, Score, Told
from seglm.evaluation.scores.grounded import score as score_captions
from seglm.utils.answers import Answer
from seglm.utils.types import Sample

if TYPE_CHECKING:
    from seglm.model.segmenter import Segmenter

QUESTION = (
    "Could you please give me a brief description of the image? Please respond with interleaved segmentation masks for the "
    "corresponding parts of the answer."
)
"""projects/sa2va/evaluation/sa2va_eval_gcg.py of bytedance/Sa2VA at f4a8bcd"""
PHRASE = re.compile(r"<p>(.*?)</p>", re.DOTALL)
TAG = re.compile(r"<[^<>]*>|\[[A-Z]+\]")
FOLDER = "captions"


@dataclass(frozen=True)
class Chosen:
    """The samples of a source that are asked about."""

    source: Stills
    limit: int | None

    def __len__(self) -> int:
        return len(self.source) if self.limit is None else min(self.limit, len(self.source))

    def sample(self, number: int) -> Sample:
        """The number-th of them."""
        return self.source.sample(number)

    def __iter__(self) -> Iterator[Sample]:
        return map(self.sample, range(len(self)))


def ask(model: Segmenter, sample: Sample, *, max_new_tokens: int) -> list[Mapping[str, Any]]:
    """The content of the picture's file."""
    drawn = next(ask_model(model, sample, QUESTION, max_new_tokens=max_new_tokens))
    [answer] = drawn.answers
    return [{"image_id": picture_of(sample), **said(answer, sample.size)}]


def write(rows: Iterable[Mapping[str, Any]], out: Path) -> None:
    """PICTURE.json for each picture, as Sa2VA does; see `numbered`."""
    (out / FOLDER).mkdir(exist_ok=True)
    every = list(rows)
    for name, row in zip(numbered(row["image_id"] for row in every), every, strict=True):
        (out / FOLDER / f"{name}.json").write_text(json.dumps(row), encoding="utf-8")


def score(chosen: Chosen, place: Path, alike: Likeness) -> Mapping[str, Score]:
    """Of the files in a folder. Raises ValueError if one is missing, and Fault if one is malformed."""
    folder = place / FOLDER if (place / FOLDER).is_dir() else place
    told, true = [], []
    for name, sample in zip(numbered(map(picture_of, chosen)), chosen, strict=True):
        told.append(read(folder / f"{name}.json", sample.size))
        true.append(replace(true_of(sample), picture=name))
    return {"all": score_captions(told, true, alike=alike)}


def picture_of(sample: Sample) -> str:
    """The picture's name without its ending, by which predictions are called."""
    return Path(sample.path).stem


def numbered(pictures: Iterable[str]) -> Iterator[str]:
    """A name for each caption: its picture's, then PICTURE.1 and on for further ones of it, of which Flickr30k has several."""
    seen: Counter[str] = Counter()
    for picture in pictures:
        yield f"{picture}.{seen[picture]}" if seen[picture] else picture
        seen[picture] += 1


def said(answer: Answer, size: tuple[int, int]) -> dict[str, Any]:
    """Caption, phrases and masks of an answer: `<p> phrase </p> [SEG]` is a phrase and its mask."""
    text = answer.spoken.text
    masks = [run_lengths((mask > 0).numpy()) for mask in answer.masks if mask is not None]
    return {
        "caption": " ".join(TAG.sub(" ", text).split()).replace(" ,", ",").replace(" .", "."),
        "phrases": [" ".join(phrase.split()) for phrase in PHRASE.findall(text)],
        "pred_masks": masks,
    }


def read(file: Path, size: tuple[int, int]) -> Told:
    """What a file says. GLaMM's has one name around everything, Sa2VA's has not."""
    if not file.is_file():
        raise ValueError(
            f"there is no {file}; each picture has a file, PICTURE.json, with `caption`, `phrases` and `pred_masks`"
        )
    content = read_json(file, file.stem)
    with blamed(file.stem, file):
        if isinstance(content, dict) and len(content) == 1 and isinstance(next(iter(content.values())), dict):
            [content] = content.values()
        masks = checked(take(content, "pred_masks", list), size)
        phrases = [one.strip() for one in take(content, "phrases", list)]
        return Told(file.stem, take(content, "caption", str), tuple(phrases), tuple(map(encoded, masks)))


def true_of(sample: Sample) -> Told:
    """The true caption of a sample with its phrases. Raises ValueError if it has none."""
    if sample.caption is None:
        raise ValueError(f"{sample.key}: has no caption with phrases")
    masks = tuple(run_lengths(truth(sample, target, [0])[0]) for target in sample.targets)
    phrases = tuple(target.texts[0] for target in sample.targets)
    return Told(picture_of(sample), sample.caption.text, phrases, masks)


def encoded(run: Any) -> Run:
    return {**run, "counts": run["counts"].encode()}
