"""PASCAL-Part: parts of things in VOC 2010 images, in the COCO-like file that VLPart made of it."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.parts import ANNOTATIONS, open_parts
from seglm.dataset.readers.stills import Stills

FILE = "vlpart/pascal_part/train.json"
DESCRIPTION = Description(
    names=("pascal_part",),
    family="sem_seg",
    splits=("train",),
    tree=(FILE, "vlpart/pascal_part/VOCdevkit/VOC2010/JPEGImages/*.jpg"),
    home="https://github.com/facebookresearch/VLPart/tree/main/datasets (train.json), images: PASCAL VOC 2010",
    counts={},
    quirks=("every category is `thing:part`",),
    scored=ANNOTATIONS,
)


def load(root: Path, split: str) -> Stills:
    return open_parts(root, split, DESCRIPTION, FILE, "vlpart/pascal_part/VOCdevkit/VOC2010/JPEGImages")
