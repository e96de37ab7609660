"""OpenPSG as captions with masked phrases, made by GLaMM from its panoptic scene graphs."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.grounded import Folders, of_groundings, open_grounded
from seglm.dataset.readers.stills import Stills

FILES = ("glamm_data/annotations/OpenPsgGCG_train.json", "GranDf/annotations/train/OpenPsgGCG_train.json")
DESCRIPTION = Description(
    names=("openpsg_gcg", "psg_gcg"),
    family="gcg",
    splits=("train",),
    tree=(FILES[0], "glamm_data/images/coco2017/{train2017,val2017}/*.jpg"),
    home="https://huggingface.co/datasets/MBZUAI/GranD-f, images: COCO 2017; or Dense-World/Sa2VA-Training",
    counts={},
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    images = Folders(("glamm_data/images/coco2017", "coco2017", "coco"), ("", "train2017", "val2017"))
    return open_grounded(root, split, DESCRIPTION, FILES, images, of_groundings, is_coco=True)
