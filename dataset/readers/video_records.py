"""A data set of videos: an index of records with what can be asked for in each, and the reader that makes samples of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seglm.dataset.description import Description
from seglm.dataset.faults import blamed
from seglm.dataset.fields import shown, take, words
from seglm.dataset.index import Listed, Record
from seglm.dataset.masks import Mask
from seglm.dataset.readers.files import place_in
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.dataset.readers.video import ENDINGS, FrameFolder, natural, open_folder, within
from seglm.dataset.readers.video_masks import LabelMaps, Opened, Store, Things, Tracks
from seglm.utils.types import Sample, Target

EXPRESSIONS: Mapping[Any, str] = {"all": "one expression for each expression of a video"}
"""`Scored.texts` of these sets"""


@dataclass(frozen=True)
class Found:
    """The things of an expression."""

    objects: Sequence[str]
    """as the data set calls them"""
    things: Things
    """as the store finds them"""
    size: list[int] | None = None
    """[H, W] of their masks, where that is known without decoding"""


@dataclass(frozen=True)
class ReadVideo:
    """A record as a sample; nothing is decoded but the head of the first frame."""

    masks: Store

    def __call__(self, record: Record, still: Still) -> Sample:
        video = open_folder(still.path, still.key, record["frames"])
        size, masked = video.size, record["size"]
        if masked is not None and tuple(masked) != size:
            raise ValueError(
                f"its masks are {masked[0]} x {masked[1]}, its frames {size[0]} x {size[1]} (H x W)"
            )
        opened = self.masks.open(still, video.names, size)
        shared: dict[
            str, tuple[Any, tuple[int, ...] | None]
        ] = {}  # expressions about the same things have one mask
        for one in record["expressions"]:
            things = one["things"]
            if repr(things) not in shared:
                shared[repr(things)] = partial(_masks, video, opened, things), opened.known(things)
        return Sample(
            key=still.key,
            size=size,
            frame=video.frame,
            num_frames=video.num_frames,
            targets=tuple(
                _target(one, video.names, *shared[repr(one["things"])]) for one in record["expressions"]
            ),
            ignore=None if opened.ignore is None else partial(_each, video, opened.ignore),
            path=str(still.path),
            frame_names=video.names,
        )


def open_videos(
    home: Path,
    split: str,
    about: Description,
    masks: Store,
    list_records: Callable[[str], Iterable[Listed]],
    files: Sequence[Path],
    frames: Sequence[str],
) -> Stills:
    """The videos that `list_records(name)` makes of `files`. Raises Fault if a file is missing.

    frames: folders below `home`; a video's frames are in the first of them that has its folder.
    """
    keep = (
        isinstance(masks, Tracks) and masks.index.folder is not None
    )  # all masks are read to list the videos
    read = ReadVideo(masks)
    place = partial(place_in, home, frames)
    truth = (masks.home,) if isinstance(masks, LabelMaps) else ()
    return open_stills(
        home, split, about, read, list_records, files=files, images=home, truth=truth, keep=keep, place=place
    )


def record_of(
    video_id: str,
    names: Sequence[str] | None,
    expressions: Sequence[Record],
    size: list[int] | None,
) -> Record:
    """The record of a video. names: of its frames, None for all in the folder; expressions: what `expression_of` makes."""
    words(video_id, "the name of a video")
    return {"id": video_id, "image": video_id, "frames": names, "size": size, "expressions": expressions}


def expression_of(
    key: str,
    text: str,
    found: Found,
    kind: str = "",
    *,
    sentence: bool = False,
    known: Collection[str] | None = None,
) -> Record:
    """What is kept of an expression. A phrase is lower case, as in VideoLISA and GLUS; a whole sentence stays as it is.

    known: names of the frames in which the masks of its things are published, where the file says it.
    """
    text = " ".join(text.split())
    return {
        "id": key,
        "text": text if sentence else text.lower(),
        "sentence": sentence,
        "objects": list(found.objects),
        "things": list(found.things),
        "kind": kind,
        "known": None if known is None else sorted(known),
    }


def frame_names(video: Any, *, as_text: bool) -> list[str]:
    """The names of a video's frames in the order in which they are shown, whatever their order in the file.

    as_text: 10 before 2, as the originals sort where a mask is found by its frame's place; else numbers are sorted as numbers.
    """
    names = named_frames(take(video, "frames", list), "frames")
    return sorted(names) if as_text else sorted(names, key=natural)


def named_frames(names: Sequence[Any], field: str) -> list[str]:
    """The names of a video's frames in the order of a field, which is that of its masks. Raises ValueError."""
    for name in names:
        is_name = isinstance(name, str) and bool(name) and Path(name).name == name
        if not is_name or name.lower().endswith(ENDINGS):
            raise ValueError(f"`{field}` holds {shown(name)}, permitted are names of files without an ending")
    if not names or len(set(names)) < len(names):
        told = f"{len(names)} names, {len(set(names))} of them different"
        raise ValueError(f"`{field}` holds {told}; permitted is one name or more, each once")
    return list(names)


def _target(one: Record, names: Sequence[str], masks: Any, known: tuple[int, ...] | None) -> Target:
    """known: frames whose masks the store has; of these only those that the file names, where it does."""
    if one["known"] is not None:
        there = range(len(names)) if known is None else known
        known = tuple(number for number in there if names[number] in one["known"])
    return Target(
        texts=(one["text"],),
        masks=masks,
        is_sentence=one["sentence"],
        kind=one["kind"],
        key=one["id"],
        known_frames=known,
        objects=tuple(one["objects"]),
    )


def _masks(video: FrameFolder, opened: Opened, things: Things, frames: Sequence[int]) -> Mask:
    """bool [T, H, W]: the union of some things."""
    return _each(video, partial(opened.mask, things), frames)


def _each(video: FrameFolder, mask: Callable[[int], Mask], frames: Sequence[int]) -> Mask:
    """bool [T, H, W] of a mask for each frame. Raises Fault with the frame's number."""
    found = np.zeros((len(frames), *video.size), dtype=np.bool_)
    for place, number in enumerate(frames):
        within(number, video.num_frames, video.key)
        with blamed(f"{video.key}, frame {number}", video.folder / video.files[number], "malformed mask"):
            found[place] = mask(number)
    return found
