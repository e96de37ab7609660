"""RefCOCOg as captions with masked phrases, made by GLaMM from its refs."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.grounded import Folders, of_refs, open_grounded
from seglm.dataset.readers.refer import TRAIN2014
from seglm.dataset.readers.stills import Stills

FILES = ("glamm_data/annotations/RefCOCOg_GCG_train.json", "GranDf/annotations/train/RefCOCOg_GCG_train.json")
DESCRIPTION = Description(
    names=("refcocog_gcg",),
    family="gcg",
    splits=("train",),
    tree=(FILES[0], "glamm_data/images/coco2014/train2014/COCO_train2014_*.jpg"),
    home="https://huggingface.co/datasets/MBZUAI/GranD-f, images: COCO train2014; or Dense-World/Sa2VA-Training",
    counts={},
    quirks=(
        "phrases have no places: each is where its words stand in the caption as whole words, the longest found first",
        "captions are lower case, as in the released code",
    ),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    images = Folders(("glamm_data/images/coco2014/train2014", *TRAIN2014))
    return open_grounded(root, split, DESCRIPTION, FILES, images, of_refs, is_coco=True)
