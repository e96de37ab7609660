"""Conversations in words, as LLaVA has them: about a picture, about a video, or about nothing that is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from seglm.dataset.description import Description
from seglm.dataset.faults import Fault, attempt
from seglm.dataset.fields import is_number, shown, take, words
from seglm.dataset.frames import Pixels
from seglm.dataset.index import LeftOut, Listed, Record
from seglm.dataset.readers.files import list_of, read_json
from seglm.dataset.readers.stills import NOTHING, Still, Stills, open_stills
from seglm.dataset.readers.video import open_video
from seglm.utils.types import Sample

TAGS = ("<image>", "<video>")
"""stand before or behind the first question; where what they mean is shown is the script's business"""
ASKS, ANSWERS = "human", "gpt"


@dataclass(frozen=True)
class Talk:
    """How the entries of a set are read."""

    field: Literal["image", "video"] = "image"
    """names what the conversation is about: a picture, or a film or folder of frames"""
    keeps_words: bool = False
    """whether a conversation about nothing that is shown is a sample"""
    coco: str = ""
    """what the path of one of COCO's pictures begins with; a number in another folder is no id of COCO"""
    endings: tuple[str, ...] = ()
    """other endings that the file may have than the one that the entry says"""


def open_conversations(
    root: Path, split: str, about: Description, file: str, images: str, talk: Talk = Talk()
) -> Stills:
    """`file` and the folder `images` lie below root. Raises Fault if the file is missing."""
    return open_stills(
        root,
        split,
        about,
        read_conversation,
        partial(_records, root / file, talk),
        files=(root / file,),
        images=root / images,
        place=partial(_there, root / images, talk.endings) if talk.endings else None,
    )


def read_conversation(record: Record, still: Still) -> Sample:
    said: dict[str, Any] = {
        "turns": tuple((question, answer) for question, answer in record["turns"]),
        "turn_kinds": tuple(record.get("kinds", ())),
    }
    if record["image"] == NOTHING:
        return Sample(still.key, (0, 0), partial(_nothing, still.key), num_frames=0, **said)
    if "frames" in record:
        video = open_video(still.path, still.key)
        return Sample(
            key=still.key,
            size=video.size,
            frame=video.frame,
            num_frames=video.num_frames,
            path=str(still.path),
            frame_names=video.names,
            **said,
        )
    return Sample(still.key, still.size(), lambda _: still.frame(), path=str(still.path), **said)


def _nothing(key: str, frame: int) -> Pixels:
    raise Fault(f"{key}: frame {frame} is asked for; the conversation is about nothing that is shown")


def _records(path: Path, talk: Talk, name: str) -> Iterator[Listed]:
    for number, one in enumerate(list_of(read_json(path, name), "conversations", name, path)):
        if isinstance(one, dict) and one.get(talk.field) is None and not talk.keeps_words:
            yield LeftOut(f"conversations without a {'picture' if talk.field == 'image' else talk.field}")
        else:
            yield attempt(f"{name}/conversation {number}", path, partial(_record, number, one, talk))


def _record(number: int, one: Any, talk: Talk) -> Record:
    said = take(one, "conversations", list)
    turns: dict[str, Any] = {"turns": turns_of(said)}
    kinds = [take({"kind": "", **told}, "kind", str) for told in said if told["from"] == ANSWERS][
        -len(turns["turns"]) :
    ]
    turns |= {"kinds": kinds} if any(kinds) else {}
    named = one if talk.field == "image" else {"id": one.get("video"), **one}  # videos have their own names
    key = f"{number}-{take(named, 'id', str, int)}"
    if one.get(talk.field) is None:
        return {"id": key, "image": NOTHING, **turns}
    image = take(one, talk.field, str)
    if talk.field == "video":
        return {"id": key, "image": image, **turns, "frames": None}
    stem = Path(image).stem
    is_coco = is_number(stem) and image.startswith(talk.coco)
    return {"id": key, "image": image, **turns} | ({"coco": int(stem)} if is_coco else {})


def _there(folder: Path, endings: Sequence[str], file: str) -> str:
    """The file, or one of its name with another ending if only that is there."""
    others = (str(PurePosixPath(file).with_suffix(ending)) for ending in endings)
    return next((one for one in (file, *others) if (folder / one).exists()), file)


def turns_of(said: list[Any]) -> list[list[str]]:
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
    for tag in TAGS:
        text = text.replace(tag, "")
    return text
