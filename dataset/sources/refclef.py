"""refCLEF (ReferItGame): sentences about regions of the IAPR TC-12 photographs."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.refer import SAIAPR, SENTENCES, open_refer
from seglm.dataset.readers.stills import Stills

DESCRIPTION = Description(
    names=("refclef",),
    family="refer_seg",
    splits=(
        "unc|train", "unc|val", "unc|testA", "unc|testB", "unc|testC", "unc|test",
        "berkeley|train", "berkeley|val", "berkeley|test",
    ),
    tree=(
        "refer_seg/refclef/instances.json",
        "refer_seg/refclef/refs(unc).p",
        "refer_seg/images/saiapr_tc-12/*.jpg",
    ),
    home="https://github.com/lichengunc/refer (its own host is down; the files are mirrored), images: SAIAPR TC-12",
    counts={},
    quirks=(
        "masks are lists of run lengths, annotation ids need not be numbers",
        "a ref of split testAB belongs to testA and to testB",
    ),
    scored=SENTENCES,
)  # fmt: skip


def load(root: Path, split: str) -> Stills:
    return open_refer(root, split, DESCRIPTION, images=SAIAPR, is_coco=False)
