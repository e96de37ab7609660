"""Ref-SAV: long and short captions of objects in SA-V's films; its eval lies as MeViS does."""

from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.readers.expressions import Rule, in_tracks, open_expressions
from seglm.dataset.readers.files import first_file, first_of
from seglm.dataset.readers.masklets import LONG, SHORT, open_masklets
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import open_tracks
from seglm.dataset.readers.video_records import EXPRESSIONS

FILMS = ("video_datas/sam_v_full", "sam_v_full")
FILES = (
    "sam_v_final_v3.json",
    "video_datas/sam_v_final_v3.json",
    "video_datas/Ref-SAV.json",
    "Ref-SAV.json",
    "ref_sav/Ref-SAV.json",
)
EVAL = ("ref_sav_eval", "video_datas/ref_sav_eval", "ref_sav/valid")
DESCRIPTION = Description(
    names=("ref_sav", "refsav"),
    family="ref_vos",
    groups=("ref_sav",),
    splits=("train", "short|train", "valid"),
    tree=(
        "video_datas/sam_v_full/sav_*/sav_train/sav_*/*.mp4",
        "sam_v_final_v3.json (or video_datas/Ref-SAV.json)",
        "ref_sav_eval/{meta_expressions_valid.json,mask_dict.json,videos/*/*.jpg}",
    ),
    home="https://huggingface.co/datasets/Dense-World/Sa2VA-Training and Sa2VA-Eval; films: SA-V, from Meta",
    counts={"train": 37311, "valid": 1147},
    quirks=(
        "the frames of a training sample are every fourth of the film, those that SA-V annotates",
        "`train` has the long captions, as the released configs; `short|train` the short ones",
        "paths in the file begin with a folder that stands for SA-V's own",
        "valid has frames as pictures, type_id 0 is a long expression and 1 a short one",
    ),
    scored=Scored(texts=EXPRESSIONS, splits=("valid",), conventions=("ref_sav", "every", "found")),
)


def load(root: Path, split: str) -> Stills:
    name = f"ref_sav|{split}"
    if split != "valid":
        home = first_of(root, FILMS, name, DESCRIPTION)
        length = LONG if split == "train" else SHORT
        return open_masklets(root, split, DESCRIPTION, first_file(root, FILES), home, length)
    home = first_of(root, EVAL, name, DESCRIPTION)
    masks = open_tracks(home / "mask_dict.json", name, DESCRIPTION)
    return open_expressions(
        home,
        split,
        DESCRIPTION,
        home / "meta_expressions_valid.json",
        frames=("videos",),
        masks=masks,
        find=lambda: in_tracks(masks),
        rule=Rule(kinds={0: LONG, 1: SHORT}),
        files=(masks.file,),
    )
