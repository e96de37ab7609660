"""LLaVA-Pretrain: captions of 558k pictures of LAION, CC and SBU, as conversations of one turn."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.conversations import Talk, open_conversations
from seglm.dataset.readers.files import first_file
from seglm.dataset.readers.stills import Stills

HOME = "llava_data/LLaVA-Pretrain"
FILE = "blip_laion_cc_sbu_558k.json"
DESCRIPTION = Description(
    names=("llava_pretrain",),
    family="vqa",
    splits=("train",),
    tree=(f"{HOME}/{FILE}", f"{HOME}/images/*/*.jpg"),
    home="https://huggingface.co/datasets/liuhaotian/LLaVA-Pretrain",
    counts={"train": 558128},
    quirks=("pictures lie in LLaVA-Pretrain/images, or in LLaVA-Pretrain itself, as the zip is unpacked",),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    images = f"{HOME}/images" if (root / HOME / "images").is_dir() else HOME
    file = first_file(root / HOME, (FILE, "images/" + FILE)).relative_to(root)
    return open_conversations(root, split, DESCRIPTION, str(file), images, Talk(coco="no picture is COCO's"))
