"""LV-VIS: videos with objects of 1,196 classes; what is asked for is a class, all its objects together (as VISA and GLUS do)."""

from __future__ import annotations

from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.readers.expressions import Rule, in_tracks, open_expressions
from seglm.dataset.readers.files import first_file, first_of
from seglm.dataset.readers.instances import open_instances
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_masks import open_tracks
from seglm.dataset.readers.video_records import EXPRESSIONS

FOLDERS = ("lvvis", "LVVIS", "LV-VIS", "video_datas/lvvis", "rvos/lvvis")
META = "meta_expressions.json"
DESCRIPTION = Description(
    names=("lvvis",),
    family="ref_vos",
    groups=("refer_seg_video",),  # VideoLISA's run_train.sh
    splits=("train", "val"),
    tree=(
        "lvvis/{train,val}/JPEGImages/*/*.jpg",
        "lvvis/{train,val}_instances.json",
        "lvvis/train/{meta_expressions,mask_dict}.json (VISA's, optional; GLUS: in lvvis itself)",
    ),
    home="https://github.com/haochenheheda/LVVIS; VISA's files: https://github.com/cilinyan/VISA",
    counts={"train": 3083, "val": 837},
    quirks=(
        "a class is written with _ for a space",
        "val, and train without VISA's files, are read from the annotations: a class of a video is an expression, its id the key",
    ),
    scored=Scored(texts=EXPRESSIONS, splits=("val", "train"), conventions=("every",)),
)


def load(root: Path, split: str) -> Stills:
    name, frames = f"lvvis|{split}", (f"{split}/JPEGImages",)
    home = first_of(root, FOLDERS, name, DESCRIPTION)
    meta = first_file(home, (f"{split}/{META}", META))
    if split != "train" or not meta.is_file():
        return open_instances(home, split, DESCRIPTION, home / f"{split}_instances.json", frames)
    masks = open_tracks(meta.with_name("mask_dict.json"), name, DESCRIPTION)
    return open_expressions(
        home,
        split,
        DESCRIPTION,
        meta,
        frames=frames,
        masks=masks,
        find=lambda: in_tracks(masks),
        rule=Rule(has_underscores=True),
        files=(masks.file,),
    )
