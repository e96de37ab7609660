"""Videos of one's own in the layout of Sa2VA's fine-tuning guide, in a file beside that of pictures."""

from pathlib import Path

from seglm.dataset.description import Description, Scored
from seglm.dataset.readers.files import first_of
from seglm.dataset.readers.listed import open_listed
from seglm.dataset.readers.stills import Stills
from seglm.dataset.readers.video_records import EXPRESSIONS
from seglm.dataset.sources.my_data import FOLDERS

FILES = {"train": "video_annotations.json", "val": "video_annotations_val.json"}
DESCRIPTION = Description(
    names=("my_videos",),
    family="my_videos",
    splits=tuple(FILES),
    tree=("my_data/video_annotations.json", "my_data/videos/*", "my_data/video_annotations_val.json"),
    home="you; the layout is that of projects/sa2va/docs/finetune.md of bytedance/Sa2VA, with a list for each frame",
    counts={},
    quirks=("Sa2VA's guide has no videos; see dataset/readers/listed.py",),
    scored=Scored(texts=EXPRESSIONS, conventions=("every", "found")),
)


def load(root: Path, split: str) -> Stills:
    home = first_of(root, FOLDERS, f"my_videos|{split}", DESCRIPTION)
    return open_listed(home, split, DESCRIPTION, home / FILES[split], "video")
