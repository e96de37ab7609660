"""ReasonSeg: questions that take reasoning to see what they ask for (LISA)."""

from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.readers.reasonseg import open_reasonseg
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("ReasonSeg",),
    family="reason_seg",
    splits=("train", "val", "test", "train_val"),
    tree=(
        "reason_seg/ReasonSeg/{train,val,test}/*.jpg with a *.json of the same name",
        "reason_seg/ReasonSeg/explanatory/train.json (optional)",
        "reason_seg/ReasonSeg/explanatory_key/keyword_outputs.json (optional: KeySeg's keywords)",
    ),
    home="https://github.com/dvlab-research/LISA#dataset",
    counts={"train": 239, "val": 200, "test": 779, "train_val": 439},
    quirks=(
        "a JSON is utf-8 or cp1252",
        "shapes are painted from the largest to the smallest; one labelled `ignore` is neither target nor background",
        "outlines are drawn by OpenCV; its 4.11 changed them by a few pixels",
    ),
    known_bad={
        "test": "two files have no polygon (LISA issue 157): empty targets here; papers with 777 images leave them out"
    },
    scored=Scored(
        splits=("val", "test", "train"),
        texts={
            # utils/dataset.py:386 at 3cb2d43
            "first": "one expression a picture, its first text (LISA's rule)",
            "all": "one expression for every text of a picture (not LISA's rule, which takes the first)",
        },
    ),
)


def load(root: Path, split: str) -> Stills:
    return open_reasonseg(root, split, DESCRIPTION)
