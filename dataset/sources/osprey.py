"""Osprey-724K: conversations about regions that are pointed at, and descriptions of them, on COCO's pictures."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.files import first_file, first_of
from seglm.dataset.readers.grounded import Folders
from seglm.dataset.readers.regions import open_regions
from seglm.dataset.readers.stills import Stills

FOLDERS = ("osprey-724k", "osprey")
FILES = {
    "conversation": "osprey_conversation.json",
    "description": "osprey_detail_description.json",
    "short": "osprey_short_form.json",
    "part": "osprey_part_level.json",
    "positive_negative": "osprey_lvis_positive_negative.json",
}
BRIEF = "Answer the question using a single word or phrase."
"""stands behind each question of these parts in the released code"""
BRIEF_PARTS = ("short", "part", "positive_negative")
DESCRIPTION = Description(
    names=("osprey", "osprey_724k"),
    family="region",
    splits=tuple(FILES),
    tree=(
        "osprey-724k/Osprey-724K/osprey_{conversation,detail_description,short_form,part_level,lvis_positive_negative}.json",
        "osprey-724k/coco/{train2014,val2014,train2017,val2017}/*.jpg",
    ),
    home="https://huggingface.co/datasets/AntGroup-MI/Osprey-724K, images: COCO 2014 and 2017",
    counts={},
    quirks=(
        "a picture is looked for in four folders of COCO, in this order: train2014, val2014, train2017, val2017",
        "`<region1>` is read as region1; what opens a description, `<region1>: `, is not part of it",
        "the parts short, part and positive_negative ask for a word: the sentence for it stands behind every question",
    ),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    home = first_of(root, FOLDERS, f"osprey|{split}", DESCRIPTION)
    file = first_file(home, [f"{folder}/{FILES[split]}" for folder in ("Osprey-724K", ".")])
    years = ("train2014", "val2014", "train2017", "val2017", "imgs")
    images = Folders((), tuple(f"coco/{year}" for year in years))
    ends = BRIEF if split in BRIEF_PARTS else ""
    return open_regions(root, split, DESCRIPTION, file, home, images, ends=ends)
