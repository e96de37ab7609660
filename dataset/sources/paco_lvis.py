"""PACO-LVIS: things and their parts in COCO images; 75 things, 456 parts of things."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.parts import ANNOTATIONS, open_parts
from seglm.dataset.readers.stills import Stills

FILE = "vlpart/paco/annotations/paco_lvis_v1_train.json"
DESCRIPTION = Description(
    names=("paco_lvis",),
    family="sem_seg",
    splits=("train",),
    tree=(FILE, "coco/train2017/*.jpg"),
    home="https://github.com/facebookresearch/paco, images: COCO 2017",
    counts={"train": 45790},
    quirks=(
        "a category is `thing` or `thing:part`; what follows `_(` is cut off",
        "an annotation is asked for by its class, which may be there more than once, as in LISA",
    ),
    scored=ANNOTATIONS,
)


def load(root: Path, split: str) -> Stills:
    return open_parts(root, split, DESCRIPTION, FILE, "coco")
