"""Questions of one's own about pictures, with their answers, in LLaVA's layout; answers are scored by accuracy."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.conversations import Talk, open_conversations
from seglm.dataset.readers.stills import Stills

HOME = "my_data"
FILES = {"train": "questions.json", "val": "questions_val.json"}
DESCRIPTION = Description(
    names=("my_qa",),
    family="vqa",
    splits=tuple(FILES),
    tree=(f"{HOME}/questions.json", f"{HOME}/questions_val.json", f"{HOME}/images/*"),
    home="you; the layout is LLaVA's",
    counts={},
    quirks=("`kind` beside an answer, where it is there, gets a row of its own in the scores",),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    talk = Talk(coco="no picture is COCO's")
    return open_conversations(root, split, DESCRIPTION, f"{HOME}/{FILES[split]}", f"{HOME}/images", talk)
