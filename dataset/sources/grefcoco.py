"""gRefCOCO: RefCOCO's images with expressions about one thing, about several, and about nothing that is there."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.refer import ANY_REFERENTS, GREFS, open_refer
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("grefcoco",),
    family="refer_seg",
    splits=("unc|train", "unc|val", "unc|testA", "unc|testB"),
    tree=(
        "refer_seg/grefcoco/instances.json",
        "refer_seg/grefcoco/grefs(unc).json",
        "refer_seg/images/mscoco/images/train2014/COCO_train2014_*.jpg",
    ),
    home="https://github.com/henghuiding/gRefCOCO, images: COCO train2014",
    counts={"unc|train": 16994, "unc|val": 1500, "unc|testA": 750, "unc|testB": 750},
    quirks=(
        "ann_id is a list; [-1] means that nothing fits: an empty mask of kind `none`",
        "crowds are run lengths with a list of counts: LISA's loader raises KeyError on them, ReLA leaves them out",
        "a polygon of fewer than 3 points is no area; a thing that has no other has an empty mask here, while GSVA's validation "
        "skips the mask of such a single thing and then fails its own assertion that there is one for each expression",
    ),
    scored=ANY_REFERENTS,
)


def load(root: Path, split: str) -> Stills:
    return open_refer(root, split, DESCRIPTION, refs_names=GREFS)
