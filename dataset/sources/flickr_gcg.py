"""Flickr30k as captions with masked phrases, made by GLaMM from its boxes."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.grounded import Folders, of_annotations, open_grounded
from seglm.dataset.readers.stills import Stills

FILES = (
    "glamm_data/annotations/flickr_mergedGT_GCG_train.json",
    "GranDf/annotations/train/flickr_mergedGT_GCG_train.json",
)
DESCRIPTION = Description(
    names=("flickr_gcg",),
    family="gcg",
    splits=("train",),
    tree=(FILES[0], "glamm_data/images/flickr30k/Flickr30K/*.jpg"),
    home="https://huggingface.co/datasets/MBZUAI/GranD-f, pictures of Flickr30k; or Dense-World/Sa2VA-Training",
    counts={},
    quirks=(
        "a picture is there once for each of its captions",
        "captions of a word or two, tiny pictures, and boxes outside the picture are left out, as in the released code",
    ),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    images = Folders(
        ("glamm_data/images/flickr30k/Flickr30K", "flickr30k/flickr30k-images", "flickr30k/Flickr30K")
    )
    return open_grounded(root, split, DESCRIPTION, FILES, images, of_annotations)
