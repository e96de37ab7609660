"""LLaVA-Instruct: questions and answers in words about an image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description
from seglm.dataset.index import Record
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.utils.types import Sample

IMAGE_TAG = (
    "<image>"  # stands before or behind the first question; where the image goes is the script's business
)
ASKS, ANSWERS = "human", "gpt"


def open_conversations(root: Path, split: str, about: Description, file: str, images: str) -> Stills:
    """`file` and the folder `images` lie below root. Raises Fault if the file is missing."""
    return open_stills(
        root,
        split,
        about,
        read_conversation,
        partial(_records, root / file),
        files=(root / file,),
        images=root / images,
    )


def read_conversation(record: Record, still: Still) -> Sample:
    """Raises ValueError if question and answer do not alternate."""
    return Sample(
        key=still.key,
        size=still.size(),
        frame=lambda _: still.frame(),
        turns=_turns(record["said"]),
        path=str(still.path),
    )


def _records(path: Path, name: str) -> Iterator[Record]:
    for number, one in enumerate(read_json(path, name)):
        stem = Path(one["image"]).stem
        record = {"id": f"{number}-{one['id']}", "image": one["image"], "said": one["conversations"]}
        yield record | ({"coco": int(stem)} if stem.isdigit() else {})


def _turns(said: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    if said and said[0]["from"] == ANSWERS:
        said = said[1:]  # an answer to nothing, left out as in the original (utils/vqa_dataset.py at 3cb2d43)
    speakers = [one["from"] for one in said]
    if not said or speakers != [ASKS, ANSWERS] * (len(said) // 2):
        raise ValueError(f"question and answer do not alternate: {speakers}")
    texts = [_without_tag(one["value"]) for one in said]
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def _without_tag(text: str) -> str:
    return text.replace(IMAGE_TAG, "").strip() if IMAGE_TAG in text else text
