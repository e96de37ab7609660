"""LLaVA-Instruct-150k: conversations about COCO images, so that the model does not forget how to talk."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.conversations import open_conversations
from seglm.dataset.readers.stills import Stills

FILE = "llava_dataset/llava_instruct_150k.json"
DESCRIPTION = Description(
    names=("llava_instruct_150k", "llava_instruct"),
    family="vqa",
    splits=("train",),
    tree=(FILE, "coco/train2017/*.jpg"),
    home="https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K, images: COCO train2017",
    counts={"train": 157712},
    quirks=(
        "`<image>` stands before or behind the first question; it is taken out, the script says where the image goes",
    ),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    return open_conversations(root, split, DESCRIPTION, FILE, "coco/train2017")
