"""GranD-f, the human-annotated part of GLaMM's captions with masked phrases; its val and test are the benchmark of GCG."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.files import first_file
from seglm.dataset.readers.grounded import Folders, of_groundings, open_grounded
from seglm.dataset.readers.grounded_truth import open_truth
from seglm.dataset.readers.stills import Stills

FILES = (
    "glamm_data/annotations/GranDf_HA_GCG_train.json",
    "GranDf/annotations/train/GranDf_HA_GCG_train.json",
)
TRUTHS = ("glamm_data/annotations/gcg_val_test", "GranDf/annotations/val_test")
DESCRIPTION = Description(
    names=("grandf_gcg", "grandf"),
    family="gcg",
    splits=("train", "val", "test"),
    tree=(
        "glamm_data/annotations/GranDf_HA_GCG_train.json",
        "glamm_data/images/grandf/{train,val_test}/*.jpg",
        "glamm_data/annotations/gcg_val_test/{val,test}_gcg_coco_{caption,mask}_gt.json",
    ),
    home="https://huggingface.co/datasets/MBZUAI/GranD-f, pictures of SA-1B; or Dense-World/Sa2VA-Training",
    counts={},
    quirks=(
        "places of phrases count in the caption with its quotes or without them; the phrase's own words tell which",
        "in val and test the n-th label of a caption belongs to the n-th mask of the picture",
    ),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    if split == "train":
        images = Folders(
            ("glamm_data/images/grandf/train", "GranDf/images/train", "glamm_data/images/grandf")
        )
        return open_grounded(root, split, DESCRIPTION, FILES, images, of_groundings)
    images = Folders(("glamm_data/images/grandf/val_test", "GranDf/images/val_test"))
    captions, masks = (
        first_file(root, [f"{folder}/{split}_gcg_coco_{what}_gt.json" for folder in TRUTHS])
        for what in ("caption", "mask")
    )
    return open_truth(root, split, DESCRIPTION, captions, masks, images)
