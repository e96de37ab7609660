"""ReVOS: expressions that refer (0), that take reasoning (1), and that nothing answers to (2) (VISA)."""

from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.readers.expressions import Rule, in_tracks, open_expressions
from seglm.dataset.readers.files import first_of
from seglm.dataset.readers.refer import NO_TARGET
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import open_tracks
from seglm.dataset.readers.video_records import EXPRESSIONS

FOLDERS = ("ReVOS", "revos", "video_datas/revos", "rvos/ReVOS")
KINDS = {0: "referring", 1: "reasoning", 2: NO_TARGET}
DESCRIPTION = Description(
    names=("revos",),
    family="ref_vos",
    groups=("refer_seg_video",),  # VideoLISA's run_train.sh
    splits=("train", "valid"),
    tree=(
        "ReVOS/JPEGImages/*/*.jpg",
        "ReVOS/meta_expressions_{train,valid}_.json",
        "ReVOS/mask_dict.json",
        "ReVOS/mask_dict_foreground.json (for the score of robustness)",
    ),
    home="https://github.com/cilinyan/ReVOS-api",
    counts={"train": 626, "valid": 416},
    quirks=(
        "a video's name may hold a folder; frames are below JPEGImages (GLUS) or below the set's own folder (VISA, Sa2VA)",
        "type_id is the kind: referring, reasoning, none; published scores leave the last out",
        "one mask_dict serves both splits",
    ),
    scored=Scored(texts=EXPRESSIONS, splits=("valid", "train"), conventions=("revos", "every")),
)


def load(root: Path, split: str) -> Stills:
    name = f"revos|{split}"
    home = first_of(root, FOLDERS, name, DESCRIPTION)
    masks = open_tracks(home / "mask_dict.json", name, DESCRIPTION)
    return open_expressions(
        home,
        split,
        DESCRIPTION,
        home / f"meta_expressions_{split}_.json",
        frames=("JPEGImages", "."),
        masks=masks,
        find=lambda: in_tracks(masks),
        rule=Rule(kinds=KINDS),
        files=(masks.file,),
    )
