"""Mapillary Vistas 2.0: street scenes of up to 8 megapixels, 124 classes."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.fields import take, words
from seglm.dataset.readers.files import first_of, read_json
from seglm.dataset.readers.semantic import CLASSES, Pairs, ReadSemantic, open_semantic
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("mapillary",),
    family="sem_seg",
    splits=("training", "validation"),
    tree=("mapillary/config_v2.0.json", "mapillary/{training,validation}/{images/*.jpg,v2.0/labels/*.png}"),
    home="https://www.mapillary.com/dataset/vistas",
    counts={"training": 18000, "validation": 2000},
    quirks=(
        "labels are palette PNG; the index is the class",
        "`unlabeled` and the void classes can be asked for, as in LISA",
    ),
    scored=CLASSES,
)


def load(root: Path, split: str) -> Stills:
    name = f"mapillary|{split}"
    home = first_of(root, ("mapillary",), name, DESCRIPTION)
    labels = take(read_json(home / "config_v2.0.json", name), "labels", list)
    read = ReadSemantic(tuple(words(take(label, "readable", str), "`readable`").lower() for label in labels))
    return open_semantic(home, split, DESCRIPTION, read, Pairs(f"{split}/images", f"{split}/v2.0/labels"))
