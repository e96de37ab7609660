"""The pictures that several data sets share, under COCO's names of 2014 and 2017."""

from collections.abc import Iterable
from pathlib import Path

from seglm.dataset.toy.layouts.shots import Shot, save_shot
from seglm.utils.folders import same_file

IMAGES_2017 = Path("coco/train2017")
IMAGES_2014 = Path("refer_seg/images/mscoco/images/train2014")


def name_2017(shot: Shot) -> str:
    """File name in coco/train2017."""
    return f"{shot.number:012d}.jpg"


def name_2014(shot: Shot) -> str:
    """File name in train2014, the folder of the RefCOCO family."""
    return f"COCO_train2014_{shot.number:012d}.jpg"


def write_pictures(root: Path, shots: Iterable[Shot]) -> int:
    """Write each picture to train2014, those of the train split also to train2017; returns their number.

    Real RefCOCO validation images lie in train2017, too, so that semantic sets train on them unless `exclude_val` is
    given; in the toy world no data set trains on a picture that another one is scored on.
    """
    for folder in (IMAGES_2014, IMAGES_2017):
        (root / folder).mkdir(parents=True, exist_ok=True)
    count = 0
    for shot in shots:
        path = root / IMAGES_2014 / name_2014(shot)
        save_shot(shot, path)
        if shot.split == "train":
            same_file(path, root / IMAGES_2017 / name_2017(shot))
        count += 1
    return count
