"""RefCOCO+: as RefCOCO, but words of place were forbidden."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.refer import SENTENCES, open_refer
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("refcoco+", "refcocop", "refcoco_plus"),
    family="refer_seg",
    splits=("unc|train", "unc|val", "unc|testA", "unc|testB"),
    tree=(
        "refer_seg/refcoco+/instances.json",
        "refer_seg/refcoco+/refs(unc).p",
        "refer_seg/images/mscoco/images/train2014/COCO_train2014_*.jpg",
    ),
    home="https://github.com/lichengunc/refer (its own host is down; the files are mirrored), images: COCO train2014",
    counts={"unc|train": 16992, "unc|val": 1500, "unc|testA": 750, "unc|testB": 750},
    scored=SENTENCES,
)


def load(root: Path, split: str) -> Stills:
    return open_refer(root, split, DESCRIPTION)
