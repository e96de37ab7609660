"""Ref-DAVIS17: DAVIS 2017 with four expressions for each object, of two persons who saw the first frame or the whole video."""

from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.readers.files import first_of
from seglm.dataset.readers.palettes import open_palettes
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_records import EXPRESSIONS

FOLDERS = ("DAVIS17", "davis17", "ref-davis", "Ref-DAVIS17", "video_datas/davis17", "rvos/davis17")
VOID = 255
DESCRIPTION = Description(
    names=("ref_davis17", "davis", "refdavis"),
    family="ref_vos",
    groups=("davis", "refer_seg_video"),  # VideoLISA's run_train.sh
    splits=("train", "valid"),
    tree=(
        "DAVIS17/meta_expressions/{train,valid}/meta_expressions.json",
        "DAVIS17/{train,valid}/JPEGImages/*/*.jpg",
        "DAVIS17/{train,valid}/Annotations/*/*.png (or mask_dict.pkl)",
    ),
    home="https://davischallenge.org and https://www.mpi-inf.mpg.de (texts); `python -m seglm.dataset.davis` joins the two",
    counts={"train": 60, "valid": 30},
    quirks=(
        "expression 4 k + a is annotator a's of the k-th object; the official protocol scores each annotator's objects together, "
        "that of VISA, GLUS and Sa2VA each expression for itself",
        "255 is neither an object nor background; per expression it counts as background",
    ),
    scored=Scored(texts=EXPRESSIONS, splits=("valid", "train"), conventions=("every", "found", "official")),
)


def load(root: Path, split: str) -> Stills:
    home = first_of(root, FOLDERS, f"ref_davis17|{split}", DESCRIPTION)
    return open_palettes(home, split, DESCRIPTION, void=VOID)
