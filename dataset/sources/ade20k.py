"""ADE20K: 150 classes of the scene parsing challenge."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.files import class_names, first_of
from seglm.dataset.readers.semantic import CLASSES, Pairs, ReadSemantic, open_semantic
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("ade20k",),
    family="sem_seg",
    splits=("training", "validation"),
    tree=("ade20k/images/{training,validation}/*.jpg", "ade20k/annotations/{training,validation}/*.png"),
    home="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip (not the full ADE20K release)",
    counts={"training": 20210, "validation": 2000},
    quirks=(
        "0 is unlabelled, class c is c + 1",
        "ade20k/classes.json, if it is there, replaces the 150 names",
    ),
    scored=CLASSES,
)


def load(root: Path, split: str) -> Stills:
    home = first_of(root, ("ade20k", "ADEChallengeData2016"), f"ade20k|{split}", DESCRIPTION)
    read = ReadSemantic(class_names(home / "classes.json", "ade20k"), first=1, unlabelled=(0, 255))
    return open_semantic(home, split, DESCRIPTION, read, Pairs(f"images/{split}", f"annotations/{split}"))
