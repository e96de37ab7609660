"""Captions with masked phrases (GCG): the three ways in which GLaMM's training files lie, and its val and test.

A sample is a picture with one caption; its targets are the phrases that are masked. A phrase that several things share, as "two
men", is one target with the union of their masks. Where two phrases overlap, the first ends where the second begins: an answer
cannot have one inside the other. The released code writes them into each other, and gives each thing of a shared phrase a slot
(projects/llava_sam2/datasets/gcg_process.py of magic-research/Sa2VA).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from seglm.dataset.description import Description
from seglm.dataset.faults import Fault, attempt, blamed, fault
from seglm.dataset.fields import Entry, Id, Unique, image_size, of_coco, shown, take, words
from seglm.dataset.index import LeftOut, Listed, Record
from seglm.dataset.masks import checked
from seglm.dataset.readers.files import first_of, list_of, place_in, read_json
from seglm.dataset.readers.stills import Still, Stills, open_stills
from seglm.utils.types import Caption, Phrase, Sample, Target

QUOTES = '"'  # around some captions
FEWEST_WORDS, LEAST_SIDE = (
    3,
    32,
)  # of a caption and a picture of Flickr30k; others are left out, as in the released code
NO_PHRASE = LeftOut("captions in which no phrase is masked")
Spans = dict[tuple[int, int], list[Any]]
"""(first character, behind the last) -> the masks of everything that the words mean"""
Entries = Callable[[Any, str, Path], Iterator[Listed]]
"""content of a file, the source's name, the file -> records; images are names"""


@dataclass(frozen=True)
class Folders:
    """Where pictures lie below `--dataset_dir`: the first folder that is there, in it or in a folder of it."""

    homes: Sequence[str]
    inside: Sequence[str] = ("",)


def open_grounded(
    root: Path,
    split: str,
    about: Description,
    files: Sequence[str],
    images: Folders,
    entries: Entries,
    *,
    is_coco: bool = False,
) -> Stills:
    """The captions of the first of `files` (below `root`) that is there. Raises Fault if it or the pictures are missing.

    is_coco: whether pictures that are called as COCO's are COCO's.
    """
    name = f"{about.name}|{split}"
    home = first_of(root, images.homes, name, about)
    file = next((root / one for one in files if (root / one).is_file()), root / files[0])
    return open_stills(
        root,
        split,
        about,
        read_grounded,
        partial(_records, file, entries, is_coco),
        files=(file,),
        images=home,
        place=partial(place_in, home, images.inside),
    )


def read_grounded(record: Record, still: Still) -> Sample:
    size = (record["size"][0], record["size"][1]) if record["size"] else still.size()
    text, phrases = record["caption"], record["phrases"]
    at = {(one["at"][0], one["at"][1]): number for number, one in enumerate(phrases) if one["at"]}
    return Sample(
        key=still.key,
        size=size,
        frame=lambda _: still.frame(size),
        targets=tuple(
            # Where the file does not say how large the picture is, its outlines could not be looked at before.
            Target((one["text"],), partial(still.masks, _parts(one, record, size), size), key=str(number))
            for number, one in enumerate(phrases)
        ),
        caption=Caption(
            text, tuple(Phrase(start, end, number) for (start, end), number in sorted(at.items()))
        ),
        path=str(still.path),
    )


def _parts(one: Entry, record: Record, size: tuple[int, int]) -> list[Any]:
    parts: list[Any] = one["mask"] if record["size"] else checked(one["mask"], size)
    return parts


def _records(file: Path, entries: Entries, is_coco: bool, name: str) -> Iterator[Listed]:
    for one in entries(read_json(file, name), name, file):
        yield one | of_coco(one["image"]) if is_coco and isinstance(one, dict) else one


# ---- how files lie ----------------------------------------------------------------------------------------------------
def of_groundings(content: Any, name: str, file: Path) -> Iterator[Listed]:
    """GranD-f and OpenPSG: a list of `caption` and `groundings`, {phrase: {`token_positives`: [start, end], `rle_masks`}}."""
    for number, entry in enumerate(list_of(content, "captions", name, file)):
        yield attempt(f"{name}/caption {number}", file, partial(_grounded, number, entry))


def of_refs(content: Any, name: str, file: Path) -> Iterator[Listed]:
    """RefCOCOg: a list of {id: {`img_file_name`, `caption`, `refs`}}; a ref is the `sentence` that stands in the caption.

    Neither sizes nor places are told: a phrase is where its words are found, and one that is nowhere is left out.
    """
    for number, entry in enumerate(list_of(content, "captions", name, file)):
        yield attempt(f"{name}/caption {number}", file, partial(_referred, number, entry))


def of_annotations(content: Any, name: str, file: Path) -> Iterator[Listed]:
    """Flickr30k: COCO-like, an image a caption; an annotation has `tokens_positive`, [[start, end], ...], and `sam_mask`."""
    with blamed(name, file):
        images, annotations = (Unique(take(content, what, list), what) for what in ("images", "annotations"))
    yield from (fault(name, file, told) for one in (images, annotations) for told in one.without_id)
    found: defaultdict[Id, list[Entry]] = defaultdict(list)
    for key, annotation in annotations.by_id.items():
        image = attempt(f"{name}/annotation {key}", file, partial(_of_image, annotation, images))
        if isinstance(image, Fault):
            yield image
        else:
            found[image].append(annotation)
    for key in images.by_id:
        yield attempt(f"{name}/image {key}", file, partial(_annotated, images, key, found[key]))


def _grounded(number: int, entry: Any) -> Record | LeftOut:
    given = take(entry, "caption", str)
    text = given.strip(QUOTES).strip()
    ahead = given.index(text) if text else 0
    size = image_size(entry)
    spans: Spans = {}
    for phrase, grounding in take(entry, "groundings", dict).items():
        if grounding is None:
            continue
        span = _span(take(grounding, "token_positives", list), given)
        # Places count in the caption as it stands, or in the one without its quotes: the words tell which.
        shifted = (span[0] - ahead, span[1] - ahead)
        if not _says(text, span, phrase) and _says(text, shifted, phrase):
            span = shifted
        spans.setdefault(span, []).extend(_checked(take(grounding, "rle_masks", list), size, phrase))
    return _record(f"{number}", take(entry, "file_name", str), size, text, spans)


def _referred(number: int, entry: Any) -> Record | LeftOut:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ValueError(f"is {shown(entry)}, permitted is an object with one name, the picture's")
    [(key, told)] = entry.items()
    text = take(told, "caption", str).strip(QUOTES).strip().lower()
    masks: defaultdict[str, list[list[Any]]] = defaultdict(list)
    for ref in take(told, "refs", list):
        parts = take(ref, "segmentation", list, dict)
        phrase = words(take(ref, "sentence", str), "`sentence`").lower()
        masks[phrase].append(parts if isinstance(parts, list) else [parts])
    spans: Spans = {}
    for phrase in sorted(
        masks, key=len, reverse=True
    ):  # the longest first: a "man" is not that of "man in red"
        free = places(text, phrase, spans)
        for turn, parts in enumerate(masks[phrase] if free else ()):
            # Where there are more things of a name than places, the last place means all the rest.
            spans.setdefault(free[min(turn, len(free) - 1)], []).extend(parts)
    return _record(f"{number}-{key}", take(told, "img_file_name", str), None, text, spans)


def places(text: str, phrase: str, taken: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where a phrase stands as whole words in a text, but for places that others have taken."""
    found = (match.span() for match in re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", text))
    held = list(taken)
    return [
        (start, end) for start, end in found if all(end <= left or start >= right for left, right in held)
    ]


def _of_image(annotation: Entry, images: Unique) -> Id:
    image: Id = take(annotation, "image_id", int, str)
    if image not in images.by_id:
        raise ValueError(images.absent(image))
    return image


def _annotated(images: Unique, key: Id, annotations: Sequence[Entry]) -> Record | LeftOut:
    image = images[key]
    text, size = take(image, "caption", str), image_size(image)
    if len(text.split(" ")) < FEWEST_WORDS or min(size) < LEAST_SIDE:
        return LeftOut("captions of a word or two, or of a tiny picture")
    spans: Spans = {}
    for one in annotations:
        if not one.get("ignore") and _is_inside(one, size):
            places = take(one, "tokens_positive", list)
            if not places:
                raise ValueError(f"annotation {one['id']}: `tokens_positive` is empty")
            span, parts = _span(places[0], text), take(one, "sam_mask", dict, list)
            spans.setdefault(span, []).extend(_checked(parts, size, str(one["id"])))
    return _record(str(key), take(image, "file_name", str), size, text, spans)


def _is_inside(annotation: Entry, size: Sequence[int]) -> bool:
    """Whether a box has an area inside the picture; the released code leaves others out."""
    x, y, width, height = (float(number) for number in take(annotation, "bbox", list))
    seen = min(x + width, size[1]) > max(x, 0) and min(y + height, size[0]) > max(y, 0)
    return seen and min(width, height) >= 1 and float(take(annotation, "area", int, float)) > 0


def _checked(parts: Any, size: Sequence[int], phrase: str) -> list[Any]:
    try:
        return checked(parts, (size[0], size[1]))
    except ValueError as error:
        raise ValueError(f"the mask of {phrase!r}: {error}") from error


# ---- phrases --------------------------------------------------------------------------------------------------------
def _span(given: Any, text: str) -> tuple[int, int]:
    if not (isinstance(given, list) and len(given) == 2 and all(type(one) is int for one in given)):
        raise ValueError(f"a place is {shown(given)}, permitted are two whole numbers: start and end")
    start, end = given
    if not 0 <= start < end <= len(text):
        raise ValueError(f"a phrase from {start} to {end} in a caption of {len(text)} characters")
    return start, end


def _says(text: str, span: tuple[int, int], phrase: str) -> bool:
    return span[0] >= 0 and text[span[0] : span[1]].strip().lower() == phrase.strip().lower()


def _record(key: str, image: str, size: list[int] | None, text: str, spans: Spans) -> Record | LeftOut:
    words(text, "`caption`")
    phrases = [
        {"at": [start, end], "text": text[start:end], "mask": parts}
        for (start, end), parts in apart(text, spans).items()
    ]
    if not phrases:
        return NO_PHRASE
    return {"id": key, "image": image, "size": size, "caption": text, "phrases": phrases}


def apart(text: str, spans: Spans) -> Spans:
    """The same phrases in the order of the text, trimmed, each cut where the next begins.

    Of two that begin at one place the longer stays: what the shorter means is not known to be the same.
    """
    longest: dict[int, int] = {}
    for start, end in spans:
        longest[start] = max(end, longest.get(start, 0))
    starts = sorted(longest)
    found: Spans = {}
    for start, following in zip(starts, [*starts[1:], len(text)], strict=True):
        inside = text[start : min(longest[start], following)]
        if trimmed := inside.strip():
            first = start + len(inside) - len(inside.lstrip())
            found[first, first + len(trimmed)] = spans[start, longest[start]]
    return found
