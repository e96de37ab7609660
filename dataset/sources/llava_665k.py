"""LLaVA-665k, the instructions of LLaVA-1.5: conversations about pictures of five sets, and some about nothing that is shown."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.conversations import Talk, open_conversations
from seglm.dataset.readers.stills import Stills

FILE = "llava_data/LLaVA-Instruct-150K/llava_v1_5_mix665k.json"
IMAGES = "llava_data/llava_images"
DESCRIPTION = Description(
    names=("llava_665k", "llava_v1_5_mix665k"),
    family="vqa",
    splits=("train", "seen|train"),
    tree=(
        FILE,
        f"{IMAGES}/{{coco/train2017,gqa/images,ocr_vqa/images,textvqa/train_images,vg/VG_100K}}/*.jpg",
    ),
    home="https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K, llava_v1_5_mix665k.json and its five sets of images",
    counts={"train": 665298},
    quirks=(
        "some 40,000 conversations are about no picture (ShareGPT): samples without a frame; `seen|train` leaves them out",
        "only names in the folder coco are ids of COCO's images; those of GQA are numbers, too",
        "vg and gqa show pictures of COCO under numbers of their own: `exclude_val` does not know them",
    ),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    talk = Talk(keeps_words=split == "train", coco="coco/")
    return open_conversations(root, split, DESCRIPTION, FILE, IMAGES, talk)
