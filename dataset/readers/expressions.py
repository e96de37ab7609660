"""Expressions about videos: MeViS and its relatives, `meta_expressions.json` beside folders of frames.

    {"videos": {video: {"frames": [name, ...], "expressions": {id: {"exp": words, ...}}}}}

A sample is a video with all its expressions, a target is an expression with the union of its things. Data sets differ in the
names of fields, in where their masks are and in what an expression without a thing is; that is said here in a few words for each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description
from seglm.dataset.faults import Fault, attempt, blamed
from seglm.dataset.fields import Unique, shown, take, words
from seglm.dataset.index import LeftOut, Listed, Record
from seglm.dataset.readers.files import read_json
from seglm.dataset.readers.refer import NO_TARGET
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import Hidden, Store, Tracks
from seglm.dataset.readers.video_records import (
    Found,
    expression_of,
    frame_names,
    open_videos,
    record_of,
)

QUESTION = "?"  # with which a text ends that is a whole question (VISA, utils/rvos_dataset.py:145 at c53d2cd)


@dataclass(frozen=True)
class Expression:
    """An entry of the file, and where it stands."""

    video: str
    id: str
    entry: Mapping[str, Any]
    names: Sequence[str]
    """of the video's frames"""


Find = Callable[[Expression], Found]
"""Raises ValueError if a thing is not there"""


@dataclass(frozen=True)
class Rule:
    """How the entries of a set are read."""

    text: str = "exp"
    has_underscores: bool = False
    """whether a text is written with _ for a space"""
    kinds: Mapping[int, str] = field(default_factory=dict)
    """`type_id` -> kind; empty if there is none, and an entry's own `kind`, where it has one, says it"""
    may_mean_nothing: bool = False
    """whether an expression without a thing asks for nothing, else it is malformed"""
    left_out: Callable[[], Collection[str]] = tuple
    """gives the videos that the file lists and that are not of the split; asked when the file is listed"""
    why: str = ""
    """what they are, in the plural"""
    hint: str = ""
    """what else a person may have meant, behind the error for an expression without a thing"""


def open_expressions(
    home: Path,
    split: str,
    about: Description,
    meta: Path,
    *,
    frames: Sequence[str],
    masks: Store | None = None,
    find: Callable[[], Find] | None = None,
    rule: Rule = Rule(),
    files: Sequence[Path] = (),
) -> Stills:
    """The videos of a `meta_expressions.json`.

    frames: see `open_videos`. masks, find: where masks are, and what makes, when the file is listed, what finds the things of an
    expression; None where they are not published. files: others that are read when it is listed.
    """
    store = Hidden() if masks is None else masks
    list_records = partial(_records, meta, find, rule, store)
    return open_videos(home, split, about, store, list_records, [meta, *files], frames)


def _records(
    meta: Path, make_find: Callable[[], Find] | None, rule: Rule, masks: Store, name: str
) -> Iterator[Listed]:
    content = read_json(meta, name)
    with blamed(name, meta):
        videos, find = take(content, "videos", dict), make_find() if make_find else None
        left_out = set(rule.left_out())
    if isinstance(masks, Tracks):
        yield from map(Fault, masks.index.faults)
    for video_id, video in videos.items():
        list_one = partial(_record, video_id, video, rule, find, isinstance(masks, Tracks))
        yield LeftOut(rule.why) if video_id in left_out else attempt(f"{name}/{video_id}", meta, list_one)


def _record(video_id: str, video: Any, rule: Rule, find: Find | None, by_place: bool) -> Record | LeftOut:
    """by_place: whether a mask is found by its frame's place."""
    names = frame_names(video, as_text=by_place)
    entries = take(video, "expressions", dict, list)
    if isinstance(entries, list):
        numbered = Unique(entries, "expressions", id_field="exp_id")
        if numbered.without_id:
            raise ValueError(numbered.without_id[0])
        entries = {str(key): numbered[key] for key in numbered.by_id}
    expressions, sizes = [], []
    for key, entry in entries.items():
        try:
            found = find(Expression(video_id, key, entry, names)) if find else None
            expressions.append(_kept(key, entry, found, rule))
        except ValueError as error:
            raise ValueError(f"expression {key}: {error}") from error
        sizes += [found.size] if found and found.size and found.size not in sizes else []
    if len(sizes) > 1:
        raise ValueError(f"its masks are of different sizes: {sizes} (H, W)")
    if not expressions:
        return LeftOut("videos without an expression")
    return record_of(video_id, names, expressions, sizes[0] if sizes else None)


def _kept(key: str, entry: Any, found: Found | None, rule: Rule) -> Record:
    """What is kept of an entry; `found` is None if its masks are not published."""
    text = words(take(entry, rule.text, str), f"`{rule.text}`")
    kind = take({"kind": "", **entry}, "kind", str)
    text = text.replace("_", " ") if rule.has_underscores else text
    if rule.kinds:
        number = take(entry, "type_id", int)
        if number not in rule.kinds:
            raise ValueError(f"`type_id` is {number}, permitted are {', '.join(map(str, rule.kinds))}")
        kind = rule.kinds[number]
    if found is None:
        found = Found((), ())
    elif not found.things and rule.may_mean_nothing:
        kind = NO_TARGET
    elif bool(found.things) == (kind == NO_TARGET):
        told = f"is of type `{kind}` and names {list(found.objects)}" if found.things else "names no object"
        raise ValueError(told + rule.hint)
    sentence = take({"is_sent": text.endswith(QUESTION), **entry}, "is_sent", bool)
    return expression_of(words(key, "an id"), text, found, kind, sentence=sentence)


def ids_of(entry: Any, name: str) -> list[str]:
    """The ids in a field that holds one of them or a list."""
    given = take(entry, name, list, str, int)
    ids = given if isinstance(given, list) else [given]
    if not all(type(one) in (str, int) for one in ids) or len(set(map(str, ids))) < len(ids):
        raise ValueError(f"`{name}` is {shown(given)}, permitted are different ids")
    return [str(one) for one in ids]


def in_tracks(tracks: Tracks, id_of: Callable[[Expression], list[str]] | None = None) -> Find:
    """Finds things in a `mask_dict`, by `anno_id` or by what `id_of` makes of an expression."""
    by_id = tracks.by_id()

    def find(expression: Expression) -> Found:
        ids = id_of(expression) if id_of else ids_of(expression.entry, "anno_id")
        found = [tracks.one(key, by_id, len(expression.names)) for key in ids]
        sizes = [track.size for track in found if track.size is not None]
        if any(size != sizes[0] for size in sizes):
            raise ValueError(f"the masks of {ids} are of different sizes: {sizes} (H, W)")
        objects = ids_of(expression.entry, "obj_id") if "obj_id" in expression.entry else ids
        return Found(objects, [track.number for track in found], sizes[0] if sizes else None)

    return find
