"""COCO-Stuff: things and stuff, 182 classes."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.files import class_names
from seglm.dataset.readers.semantic import CLASSES, Pairs, ReadSemantic, open_semantic
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("cocostuff", "coco_stuff"),
    family="sem_seg",
    splits=("train2017", "val2017"),
    tree=("cocostuff/train2017/*.png", "coco/train2017/*.jpg"),
    home="https://github.com/nightrome/cocostuff (stuffthingmaps_trainval2017), images: COCO 2017",
    counts={"train2017": 118287, "val2017": 5000},
    quirks=(
        "the number is the class (0 is person), 255 is unlabelled",
        "classes with a hyphen (`wall-other`) are never asked for, as in LISA",
        "cocostuff/classes.json, if it is there, replaces the 182 names",
    ),
    scored=CLASSES,
)


def load(root: Path, split: str) -> Stills:
    names = class_names(root / "cocostuff" / "classes.json", "cocostuff")
    read = ReadSemantic(names, dropped=tuple(number for number, name in enumerate(names) if "-" in name))
    return open_semantic(
        root, split, DESCRIPTION, read, Pairs(f"coco/{split}", f"cocostuff/{split}", is_coco=True)
    )
