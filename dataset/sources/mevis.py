"""MeViS: expressions that only motion tells apart, about one thing or several; its second release has some about nothing."""

from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.readers.expressions import Rule, in_tracks, open_expressions
from seglm.dataset.readers.files import first_file, first_of
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import open_tracks
from seglm.dataset.readers.video_records import EXPRESSIONS

FOLDERS = ("mevis", "MeViS", "video_datas/mevis", "rvos/mevis")
FOLDERS_V2 = ("mevis_v2", "MeViS_v2", "MeViSv2", *FOLDERS)
META = ("meta_expressions.json",)
META_V2 = ("meta_expressions_v2.json", "meta_expressions_v2_release.json")
DESCRIPTION = Description(
    names=("mevis",),
    family="ref_vos",
    groups=("refer_seg_video",),  # VideoLISA's run_train.sh
    releases=("v2",),
    splits=("train", "valid_u", "valid", "v2|train", "v2|valid_u", "v2|valid"),
    tree=(
        "mevis/{train,valid_u,valid}/JPEGImages/*/*.jpg",
        "mevis/{train,valid_u,valid}/meta_expressions.json (v2: meta_expressions_v2.json)",
        "mevis/{train,valid_u}/mask_dict.json",
    ),
    home="https://github.com/henghuiding/MeViS",
    counts={"train": 1662, "valid_u": 50, "valid": 140},
    quirks=(
        "masks are run lengths by annotation and by place in the sorted names of frames, null where nothing is seen",
        "an expression of v2 without an object means nothing that is there: an empty mask of kind `none`",
        "valid has no masks: its server scores them; valid_u is part of VideoLISA's training, here only where it is asked for",
    ),
    scored=Scored(
        texts=EXPRESSIONS,
        splits=("valid_u", "train", "v2|valid_u", "v2|train"),
        served=("valid", "v2|valid"),
        conventions=("every", "found"),
    ),
)


def load(root: Path, split: str) -> Stills:
    release, _, part = split.rpartition("|")
    name = f"mevis|{split}"
    home = first_of(root, FOLDERS_V2 if release else FOLDERS, name, DESCRIPTION) / part
    meta = first_file(home, META_V2 if release else META)
    rule = Rule(
        may_mean_nothing=bool(release), hint="" if release else "; in the second release, mevis|v2, it may"
    )
    if part == "valid":
        return open_expressions(home, split, DESCRIPTION, meta, frames=("JPEGImages",), rule=rule)
    masks = open_tracks(home / "mask_dict.json", name, DESCRIPTION)
    return open_expressions(
        home,
        split,
        DESCRIPTION,
        meta,
        frames=("JPEGImages",),
        masks=masks,
        find=lambda: in_tracks(masks),
        rule=rule,
        files=(masks.file,),
    )
