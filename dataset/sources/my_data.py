"""Pictures of one's own in the layout of Sa2VA's fine-tuning guide: one file with masks and texts."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.files import first_of
from seglm.dataset.readers.listed import open_listed
from seglm.dataset.readers.stills import Stills

FOLDERS = ("my_data", "data/my_data")
FILES = {"train": "annotations.json", "val": "annotations_val.json"}
DESCRIPTION = Description(
    names=("my_data", "sa2va_finetune"),
    family="my_data",
    splits=tuple(FILES),
    tree=("my_data/annotations.json", "my_data/images/*", "my_data/annotations_val.json"),
    home="you; the layout is that of projects/sa2va/docs/finetune.md of bytedance/Sa2VA",
    counts={},
    quirks=(
        "a text that holds a question mark is asked as it stands, any other is a phrase",
        "`annotations_val.json` is not in Sa2VA's guide",
    ),
)


def load(root: Path, split: str) -> Stills:
    home = first_of(root, FOLDERS, f"my_data|{split}", DESCRIPTION)
    return open_listed(home, split, DESCRIPTION, home / FILES[split], "image")
