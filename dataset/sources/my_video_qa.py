"""Questions of one's own about videos, with their answers, in the layout of Chat-UniVi; answers are scored by accuracy."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.conversations import Talk, open_conversations
from seglm.dataset.readers.stills import Stills
from seglm.dataset.sources.my_qa import HOME

FILES = {"train": "video_questions.json", "val": "video_questions_val.json"}
DESCRIPTION = Description(
    names=("my_video_qa",),
    family="video_qa",
    splits=tuple(FILES),
    tree=(f"{HOME}/video_questions.json", f"{HOME}/video_questions_val.json", f"{HOME}/videos/*"),
    home="you; the layout is Chat-UniVi's",
    counts={},
    quirks=("`kind` beside an answer, where it is there, gets a row of its own in the scores",),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    return open_conversations(
        root, split, DESCRIPTION, f"{HOME}/{FILES[split]}", f"{HOME}/videos", Talk("video")
    )
