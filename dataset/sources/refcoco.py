"""RefCOCO: short sentences from a two-player game, about one of several alike; testA has people, testB the rest."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.refer import SENTENCES, open_refer
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("refcoco",),
    family="refer_seg",
    splits=("unc|train", "unc|val", "unc|testA", "unc|testB", "google|train", "google|val", "google|test"),
    tree=(
        "refer_seg/refcoco/instances.json",
        "refer_seg/refcoco/refs(unc).p",
        "refer_seg/images/mscoco/images/train2014/COCO_train2014_*.jpg",
    ),
    home="https://github.com/lichengunc/refer (its own host is down; the files are mirrored), images: COCO train2014",
    counts={
        "unc|train": 16994, "unc|val": 1500, "unc|testA": 750, "unc|testB": 750,
        "google|train": 19213, "google|val": 4559, "google|test": 4527,
    },
    quirks=(
        "a ref's file_name has a suffix and is not the image's name",
        "parts of one thing may overlap: a union here, a sum in the released loaders",
    ),
    scored=SENTENCES,
)  # fmt: skip


def load(root: Path, split: str) -> Stills:
    return open_refer(root, split, DESCRIPTION)
