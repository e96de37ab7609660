"""Instances in videos as YouTube-VIS has them; the objects of a class in a video are one expression, the name of the class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from seglm.dataset.description import Description
from seglm.dataset.faults import Fault, attempt, blamed, fault
from seglm.dataset.fields import Entry, Id, Unique, image_size, take, words
from seglm.dataset.index import LeftOut, Listed, Record, open_index
from seglm.dataset.readers.files import missing, read_json
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import Track, Tracks, track_record
from seglm.dataset.readers.video_records import Found, expression_of, named_frames, open_videos, record_of


def open_instances(home: Path, split: str, about: Description, file: Path, frames: Sequence[str]) -> Stills:
    """The videos of a file of `videos`, `annotations` and `categories`; frames: folders below `home`. Raises Fault."""
    name = f"{about.name}|{split}"
    if not file.is_file():
        raise missing(name, file, about)
    tracks = Tracks(open_index([file], partial(_tracks, file, name), what=f"{name}/masks"), file)
    return open_videos(home, split, about, tracks, partial(_records, tracks), [file], frames)


def _lists(file: Path, name: str) -> tuple[Unique, Unique, Unique]:
    content = read_json(file, name)
    with blamed(name, file):
        videos, annotations, categories = (
            Unique(take(content, what, list), what) for what in ("videos", "annotations", "categories")
        )
    return videos, annotations, categories


def _tracks(file: Path, name: str) -> Iterator[Listed]:
    videos, annotations, _ = _lists(file, name)
    for key in annotations.by_id:
        yield attempt(f"{name}/annotation {key}", file, partial(_track, key, annotations, videos, file))


def _track(key: Id, annotations: Unique, videos: Unique, file: Path) -> Record:
    annotation = annotations[key]
    size = image_size(videos[take(annotation, "video_id", int, str)])
    return track_record(str(key), take(annotation, "segmentations", list), file, (size[0], size[1]))


def _records(tracks: Tracks, name: str) -> Iterator[Listed]:
    videos, annotations, categories = _lists(tracks.file, name)
    yield from map(Fault, tracks.index.faults)
    for unique in (videos, annotations, categories):
        yield from (fault(name, tracks.file, told) for told in unique.without_id)
    found: defaultdict[Id, list[Entry]] = defaultdict(list)
    for key in annotations.by_id:
        video = attempt(f"{name}/annotation {key}", tracks.file, partial(_video_of, key, annotations, videos))
        if isinstance(video, Fault):
            yield video
        else:
            found[video].append(annotations.by_id[key])
    by_id = tracks.by_id()
    for key in videos.by_id:
        list_one = partial(_record, key, videos, found[key], categories, tracks, by_id)
        yield attempt(f"{name}/video {key}", tracks.file, list_one)


def _video_of(key: Id, annotations: Unique, videos: Unique) -> Id:
    video: Id = take(annotations[key], "video_id", int, str)
    if video not in videos.by_id:
        raise ValueError(videos.absent(video))
    return video


def _record(
    key: Id,
    videos: Unique,
    annotations: Sequence[Entry],
    categories: Unique,
    tracks: Tracks,
    by_id: dict[str, Track],
) -> Record | LeftOut:
    video = videos[key]
    files = [PurePosixPath(words(one, "`file_names`")) for one in take(video, "file_names", list)]
    folders = {file.parent.as_posix() for file in files}
    if len(folders) != 1:
        raise ValueError(f"`file_names` are in {len(folders)} folders, permitted is one")
    names = named_frames(
        [file.stem for file in files], "file_names"
    )  # a track has a mask for each, in their order
    classes: defaultdict[Id, list[str]] = defaultdict(list)
    for one in annotations:
        classes[take(one, "category_id", int, str)].append(str(one["id"]))
    expressions = []
    for number, ids in classes.items():
        text = words(take(categories[number], "name", str), "`name`").replace("_", " ")
        found = [tracks.one(one, by_id, len(names)).number for one in ids]
        expressions.append(expression_of(str(number), text, Found(ids, found)))
    if not expressions:
        return LeftOut("videos without an object")
    return record_of(folders.pop(), names, expressions, image_size(video))
