"""RefCOCO, RefCOCO+, RefCOCOg and refCLEF: instances.json and a Python-2 pickle of refs.

Added to the real format: "kind" in each sentence and "keyword" in each ref, which other readers do not look at. Only phrases
that name one whole thing are written, since a ref of these sets has exactly one annotation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seglm.dataset.masks import run_lengths
from seglm.dataset.toy.language import Phrase
from seglm.dataset.toy.layouts.coco import name_2014
from seglm.dataset.toy.layouts.outlines import box_of, thing_polygons
from seglm.dataset.toy.layouts.pickles import dump
from seglm.dataset.toy.layouts.shots import Shot, positives, save_json, save_shot
from seglm.dataset.toy.scenes import Mask, visible_masks
from seglm.dataset.toy.shapes import SHAPES
from seglm.dataset.toy.words import describe

Json = dict[str, object]

FOLDER = Path("refer_seg")
CLEF_IMAGES = FOLDER / "images/saiapr_tc-12"
PLACE_WORDS = frozenset(
    "left right top bottom upper lower leftmost rightmost topmost lowest corner edge side above below over under between"
    " inside middle near nearest beside next closest furthest farthest higher highest".split()
)
MAX_SENTENCES = 3  # of one ref; refCOCO has 2.8 on average
TEST_SHAPES = {"testA": ("circle", "ring", "star")}  # the real testA holds people, testB everything else
THINGS_PER_IMAGE = 10  # room for annotation ids


@dataclass(frozen=True)
class ReferSet:
    """What tells one of the data sets from the others."""

    name: str
    """folder in refer_seg"""
    split_by: str
    """who made the splits, as in refs(unc).p"""
    kinds: tuple[str, ...]
    """kinds of phrases it holds"""
    place_words: bool = True
    """False if no sentence may say where the thing is"""
    clef: bool = False
    """True for refCLEF: own images, run lengths, annotation ids in text"""


REFCOCO = ReferSet("refcoco", "unc", ("attribute", "position", "relation", "superlative"))
REFCOCO_PLUS = ReferSet("refcoco+", "unc", ("attribute", "superlative", "reasoning"), place_words=False)
REFCOCOG = ReferSet("refcocog", "umd", ("attribute", "position", "relation", "superlative", "reasoning"))
REFCLEF = ReferSet("refclef", "unc", ("attribute", "position", "relation", "superlative"), clef=True)


@dataclass
class _Tables:
    """The growing content of the two files."""

    images: list[Json] = field(default_factory=list)
    annotations: list[Json] = field(default_factory=list)
    refs: list[Json] = field(default_factory=list)
    num_sentences: int = 0


def write_refer(root: Path, refer: ReferSet, splits: Mapping[str, Iterable[Shot]]) -> dict[str, int]:
    """Write instances.json and the refs file for split name -> shots; returns the number of sentences of each split.

    Pictures are written for refCLEF only; those of the COCO sets are shared, see `coco.write_pictures`.
    """
    tables, counts = _Tables(), {}
    if refer.clef:
        (root / CLEF_IMAGES).mkdir(parents=True, exist_ok=True)
    for split, shots in splits.items():
        before = tables.num_sentences
        for shot in shots:
            _add(tables, refer, shot, split)
            if refer.clef:
                save_shot(shot, root / CLEF_IMAGES / _image_name(refer, shot))
        counts[split] = tables.num_sentences - before
    folder = root / FOLDER / refer.name
    save_instances(tables.images, tables.annotations, folder)
    (folder / f"refs({refer.split_by}).p").write_bytes(dump(tables.refs))
    return counts


def save_instances(images: Sequence[Json], annotations: Sequence[Json], folder: Path) -> None:
    """Write instances.json of a set of the RefCOCO family; the folder's name is the set's."""
    categories = [
        {"supercategory": "thing", "id": i, "name": shape} for i, shape in enumerate(SHAPES, start=1)
    ]
    info = {"description": f"toy world as {folder.name}", "version": "1.0", "year": 2015}
    licenses = [{"id": 1, "name": "generated", "url": ""}]
    content = {"info": info, "images": images, "licenses": licenses, "annotations": annotations}
    save_json({**content, "categories": categories}, folder / "instances.json")


def image_of(shot: Shot, file_name: str) -> Json:
    """The entry of a picture in instances.json."""
    return {
        "file_name": file_name,
        "height": shot.scene.height,
        "width": shot.scene.width,
        "id": shot.number,
    }


def sentence_of(phrase: Phrase, number: int) -> Json:
    """The entry of a phrase in a ref; `number` is unique in the set."""
    words: Json = {"tokens": phrase.text.split(), "raw": phrase.text, "sent": phrase.text}
    return {**words, "sent_id": number, "kind": phrase.kind}


def category_of(shot: Shot, index: int) -> int:
    """Id of the category of a thing."""
    return SHAPES.index(shot.scene.things[index].shape) + 1


def _add(tables: _Tables, refer: ReferSet, shot: Shot, split: str) -> None:
    """Add one picture with all its things as annotations and the named ones as refs; nothing if none is named."""
    named: dict[int, list[Phrase]] = {}
    for phrase in positives(shot, refer.name):
        if _belongs(refer, phrase) and _is_scored(shot, phrase.targets[0], split):
            named.setdefault(phrase.targets[0], []).append(phrase)
    if not named:
        return
    tables.images.append(image_of(shot, _image_name(refer, shot)))
    for index, mask in enumerate(visible_masks(shot.scene)):
        tables.annotations.append(_annotation(refer, shot, index, mask))
    for index in sorted(named):
        tables.refs.append(_ref(tables, refer, shot, index, named[index][:MAX_SENTENCES], split))


def _belongs(refer: ReferSet, phrase: Phrase) -> bool:
    if (
        phrase.kind not in refer.kinds
        or phrase.is_sentence
        or phrase.part is not None
        or len(phrase.targets) != 1
    ):
        return False
    return refer.place_words or not PLACE_WORDS & set(phrase.text.split())


def _is_scored(shot: Shot, index: int, split: str) -> bool:
    """False if the thing belongs to the other of the two test splits."""
    is_in_a = shot.scene.things[index].shape in TEST_SHAPES["testA"]
    return {"testA": is_in_a, "testB": not is_in_a}.get(split, True)


def _annotation(refer: ReferSet, shot: Shot, index: int, mask: Mask) -> Json:
    record: Json = {
        "segmentation": [run_lengths(mask)] if refer.clef else thing_polygons(shot.scene, index),
        "area": float(mask.sum()),
        "iscrowd": 0,
        "image_id": shot.number,
        "bbox": box_of(mask),
        "category_id": category_of(shot, index),
        "id": _annotation_id(refer, shot, index),
    }
    if refer.clef:
        del record["iscrowd"]
        record["mask_name"] = f"{record['id']}.mat"
    return record


def _ref(tables: _Tables, refer: ReferSet, shot: Shot, index: int, phrases: list[Phrase], split: str) -> Json:
    first = tables.num_sentences + 1
    sentences = [sentence_of(phrase, number) for number, phrase in enumerate(phrases, start=first)]
    tables.num_sentences += len(sentences)
    annotation = _annotation_id(refer, shot, index)
    stem = _image_name(refer, shot).removesuffix(".jpg")
    return {
        "sent_ids": [sentence["sent_id"] for sentence in sentences],
        "file_name": f"{stem}.jpg" if refer.clef else f"{stem}_{annotation}.jpg",
        "ann_id": annotation,
        "ref_id": len(tables.refs) + 1,
        "image_id": shot.number,
        "split": split,
        "sentences": sentences,
        "category_id": category_of(shot, index),
        "keyword": describe(shot.scene.things[index], ("colour", "shape")).say(),
    }


def _image_name(refer: ReferSet, shot: Shot) -> str:
    return f"{shot.number}.jpg" if refer.clef else name_2014(shot)


def _annotation_id(refer: ReferSet, shot: Shot, index: int) -> int | str:
    return f"{shot.number}_{index + 1}" if refer.clef else shot.number * THINGS_PER_IMAGE + index
