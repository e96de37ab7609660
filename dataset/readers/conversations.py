"""LLaVA-Instruct: questions and answers in words about an image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description
from seglm.dataset.faults import attempt, fault
from seglm.dataset.fields import is_number, shown, take, words
from seglm.dataset.index import LeftOut, Listed, Record
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
    return Sample(
        key=still.key,
        size=still.size(),
        frame=lambda _: still.frame(),
        turns=tuple((question, answer) for question, answer in record["turns"]),
        path=str(still.path),
    )


def _records(path: Path, name: str) -> Iterator[Listed]:
    content = read_json(path, name)
    if not isinstance(content, list):
        raise fault(name, path, f"is a list of conversations, not {shown(content)}")
    for number, one in enumerate(content):
        if isinstance(one, dict) and one.get("image") is None:
            yield LeftOut("conversations without a picture")
        else:
            yield attempt(f"{name}/conversation {number}", path, partial(_record, number, one))


def _record(number: int, one: Any) -> Record:
    image = take(one, "image", str)
    stem = Path(image).stem
    record = {
        "id": f"{number}-{take(one, 'id', str, int)}",
        "image": image,
        "turns": _turns(take(one, "conversations", list)),
    }
    return record | ({"coco": int(stem)} if is_number(stem) else {})


def _turns(said: list[Any]) -> list[list[str]]:
    """[question, answer] pairs. Raises ValueError if they do not alternate."""
    speakers = [take(one, "from", str) for one in said]
    if speakers[:1] == [ANSWERS]:
        # an answer to nothing, left out as in the original (utils/vqa_dataset.py at 3cb2d43)
        said, speakers = said[1:], speakers[1:]
    if not said or speakers != [ASKS, ANSWERS] * (len(said) // 2):
        raise ValueError(f"question and answer do not alternate: {shown(speakers)}")
    texts = [words(_without_tag(take(one, "value", str)), "`value`") for one in said]
    return [list(pair) for pair in zip(texts[::2], texts[1::2], strict=True)]


def _without_tag(text: str) -> str:
    return text.replace(IMAGE_TAG, "")
