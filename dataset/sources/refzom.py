"""Ref-ZOM: expressions about one thing, several and none, on COCO images of train2014 and val2014."""

from dataclasses import replace
from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.refer import ANY_REFERENTS, TRAIN2014, TRAINVAL2014, open_refer
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("refzom", "ref_zom"),
    family="refer_seg",
    splits=("final|train", "final|test"),
    tree=(
        "refer_seg/refzom/instances.json",
        "refer_seg/refzom/Ref_ZOM.p",
        "refer_seg/images/mscoco/images/trainval2014/COCO_{train,val}2014_*.jpg",
    ),
    home="https://github.com/toggle1995/RIS-DMMI, images: COCO train2014 and val2014, together in one folder",
    counts={},
    quirks=(
        "ann_id is a list; an empty one means that nothing fits: an empty mask of kind `none`",
        "the file is not split by a group of people; `final` takes the place of `unc`",
        "where there is no folder trainval2014 the images are looked for in train2014",
    ),
    scored=replace(ANY_REFERENTS, drawn_empty_adds=False),
)


def load(root: Path, split: str) -> Stills:
    return open_refer(
        root, split, DESCRIPTION, images=(*TRAINVAL2014, *TRAIN2014), refs_names=("Ref_ZOM.p", "Ref_ZOM.json")
    )
