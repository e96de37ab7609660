"""RefCOCOg: longer sentences, written without a game."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.refer import SENTENCES, open_refer
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("refcocog",),
    family="refer_seg",
    splits=("umd|train", "umd|val", "umd|test", "google|train", "google|val"),
    tree=(
        "refer_seg/refcocog/instances.json",
        "refer_seg/refcocog/refs(umd).p",
        "refer_seg/images/mscoco/images/train2014/COCO_train2014_*.jpg",
    ),
    home="https://github.com/lichengunc/refer (its own host is down; the files are mirrored), images: COCO train2014",
    counts={"umd|train": 21899, "umd|val": 1300, "umd|test": 2600, "google|train": 24698, "google|val": 4650},
    quirks=("google's train and val share images, and google has no test",),
    scored=SENTENCES,
)


def load(root: Path, split: str) -> Stills:
    return open_refer(root, split, DESCRIPTION)
