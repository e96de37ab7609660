"""RefCOCOg's sentences as captions of its regions, GLaMM's and Sa2VA's benchmark of region captioning."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.files import first_of
from seglm.dataset.readers.refer import TRAIN2014
from seglm.dataset.readers.regions import open_captions
from seglm.dataset.readers.stills import Stills

FILE = "region_caption/refcocog/finetune_refcocog_val_with_mask.json"
DESCRIPTION = Description(
    names=("refcocog_regions",),
    family="region",
    splits=("val",),
    tree=(FILE, "glamm_data/images/coco2014/train2014/COCO_train2014_*.jpg"),
    home="https://github.com/mbzuai-oryx/groundingLMM, evaluation; images: COCO train2014",
    counts={},
    quirks=("an entry of `images` is a caption; its annotation, which has the mask, has the same id",),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    name = f"refcocog_regions|{split}"
    home = first_of(root, ("glamm_data/images/coco2014/train2014", *TRAIN2014), name, DESCRIPTION)
    return open_captions(root, split, DESCRIPTION, root / FILE, home)
