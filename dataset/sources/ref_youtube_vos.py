"""Ref-YouTube-VOS: expressions about the objects of YouTube-VOS (URVOS)."""

from functools import partial
from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.faults import blamed
from seglm.dataset.fields import take
from seglm.dataset.readers.expressions import Rule
from seglm.dataset.readers.files import first_of, read_json
from seglm.dataset.readers.palettes import open_palettes
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_records import EXPRESSIONS

FOLDERS = (
    "Refer-YouTube-VOS",
    "Ref-Youtube-VOS",
    "ref-youtube-vos",
    "rvos",
    "video_datas/rvos",
    "rvos/Ref-Youtube-VOS",
)
DESCRIPTION = Description(
    names=("ref_youtube_vos", "refer_youtube_vos", "refytvos"),
    family="ref_vos",
    groups=("refer_seg_video",),  # VideoLISA's run_train.sh
    splits=("train", "valid", "test"),
    tree=(
        "Refer-YouTube-VOS/meta_expressions/{train,valid,test}/meta_expressions.json",
        "Refer-YouTube-VOS/{train,valid,test}/JPEGImages/*/*.jpg",
        "Refer-YouTube-VOS/train/Annotations/*/*.png (or train/mask_dict.pkl)",
    ),
    home="https://codalab.lisn.upsaclay.fr/competitions/3282#participate-get-data",
    counts={"train": 3471, "valid": 202, "test": 305},
    quirks=(
        "the file of valid lists the videos of test, too: those are left out, 202 remain",
        "valid and test have no masks: a server scores them",
        "VISA's mask_dict counts expressions, ids sorted as texts",
    ),
    scored=Scored(
        texts=EXPRESSIONS, splits=("train",), served=("valid", "test"), conventions=("every", "found")
    ),
)


def load(root: Path, split: str) -> Stills:
    home = first_of(root, FOLDERS, f"ref_youtube_vos|{split}", DESCRIPTION)
    if split != "valid":
        return open_palettes(home, split, DESCRIPTION, has_masks=split == "train")
    test, there = home / "meta_expressions/test/meta_expressions.json", home / "valid/JPEGImages"
    rule = Rule(left_out=partial(_of_test, home, test, there), why="videos that belong to test")
    files = [file for file in (test, there) if file.exists()]
    return open_palettes(home, split, DESCRIPTION, has_masks=False, rule=rule, files=files)


def _of_test(home: Path, test: Path, there: Path) -> list[str]:
    """What the file of valid lists and is not valid: what is in test's file, or, without it, what has no frames in valid."""
    listed = test if test.is_file() else home / "meta_expressions/valid/meta_expressions.json"
    with blamed("ref_youtube_vos|valid", listed):
        videos = take(read_json(listed, "ref_youtube_vos|valid"), "videos", dict)
    return [one for one in videos if listed == test or not (there / one).is_dir()]
