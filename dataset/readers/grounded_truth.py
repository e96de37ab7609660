"""GranD-f's val and test: captions and masks in two COCO-like files, as GLaMM's evaluation reads them.

The n-th label of an image's caption belongs to the n-th of its masks (eval/gcg/evaluate.py of mbzuai-oryx/groundingLMM at
dd7ad1a). Not every label stands in the caption; all of them are targets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.faults import Fault, attempt, blamed, fault
from seglm.dataset.fields import Entry, Id, Unique, image_size, take, texts, words
from seglm.dataset.index import Listed, Record
from seglm.dataset.masks import parts_of
from seglm.dataset.readers.files import first_of, read_json
from seglm.dataset.readers.grounded import Folders, places, read_grounded
from seglm.dataset.readers.stills import Stills, open_stills

ENDINGS = ("", ".jpg")  # behind an image's id or `file_name`, for its file


def open_truth(
    root: Path, split: str, about: Description, captions: Path, masks: Path, images: Folders
) -> Stills:
    """captions, masks: the two files. Raises Fault if one, or the folder of pictures, is missing."""
    name = f"{about.name}|{split}"
    home = first_of(root, images.homes, name, about)
    return open_stills(
        root,
        split,
        about,
        read_grounded,
        partial(_records, captions, masks),
        files=(captions, masks),
        images=home,
        place=partial(_there, home),
    )


def _there(home: Path, file: str) -> str:
    """A picture's path below `home`, of its id or its file's name."""
    return next((file + end for end in ENDINGS if (home / (file + end)).is_file()), file + ENDINGS[-1])


def _records(captions: Path, masks: Path, name: str) -> Iterator[Listed]:
    told, drawn = read_json(captions, name), read_json(masks, name)
    with blamed(name, captions):
        images, sentences = (Unique(take(told, what, list), what) for what in ("images", "annotations"))
    with blamed(name, masks):
        sized = Unique(take(drawn, "images", list), "images")
        annotations = Unique(take(drawn, "annotations", list), "annotations")
    for file, unique in ((captions, images), (captions, sentences), (masks, sized), (masks, annotations)):
        yield from (fault(name, file, said) for said in unique.without_id)
    by_image: dict[str, defaultdict[Id, list[Entry]]] = {}
    for what, file, unique in (("captions", captions, sentences), ("masks", masks, annotations)):
        by_image[what] = defaultdict(list)
        for key, entry in unique.by_id.items():
            image = attempt(f"{name}/{what} {key}", file, partial(take, entry, "image_id", int, str))
            if isinstance(image, Fault):
                yield image
            else:
                by_image[what][image].append(entry)
    for key in images.by_id:
        list_one = partial(_record, key, sized, by_image["captions"][key], by_image["masks"][key])
        yield attempt(f"{name}/{key}", captions, list_one)


def _record(key: Id, images: Unique, captions: list[Entry], masks: list[Entry]) -> Record:
    if len(captions) != 1:
        raise ValueError(f"{len(captions)} captions of this image, permitted is one")
    image = images[key]
    size, file = image_size(image), str(image.get("file_name") or key)
    text, labels = take(captions[0], "caption", str).strip('"').strip(), texts(captions[0], "labels")
    if len(labels) != len(masks):
        raise ValueError(f"{len(labels)} labels and {len(masks)} masks; each label has one mask")
    taken: dict[tuple[int, int], int] = {}
    for number, label in enumerate(labels):
        free = places(text.lower(), label.lower(), taken)
        if free:
            taken[free[0]] = number
    at = {number: list(span) for span, number in taken.items()}
    return {
        "id": str(key),
        "image": file,
        "size": size,
        "caption": words(text, "`caption`"),
        "phrases": [
            {"at": at.get(number), "text": label, "mask": parts_of(mask, size)}
            for number, (label, mask) in enumerate(zip(labels, masks, strict=True))
        ],
    }
