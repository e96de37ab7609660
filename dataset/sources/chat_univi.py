"""Chat-UniVi's video conversations, which are Video-ChatGPT's: questions about ActivityNet's films."""

from pathlib import Path

from seglm.dataset.description import Description
from seglm.dataset.readers.conversations import Talk, open_conversations
from seglm.dataset.readers.files import first_of
from seglm.dataset.readers.stills import Stills

FOLDERS = ("video_datas/chat_univi", "chat_univi")
VIDEOS = "Activity_Videos"
DESCRIPTION = Description(
    names=("chat_univi", "video_chatgpt", "videochatgpt"),
    family="video_qa",
    splits=("train",),
    tree=(f"video_datas/chat_univi/{{video_chat.json,{VIDEOS}/*.mp4}}",),
    home="https://huggingface.co/datasets/Dense-World/Sa2VA-Training, or Chat-UniVi/Chat-UniVi-Instruct",
    counts={},
    quirks=(
        "a film is there once for each of its conversations",
        "the file may say .mkv where .mp4 is on disk; the one that is there is read, as in the released code",
    ),
    scored=None,
)


def load(root: Path, split: str) -> Stills:
    home = first_of(root, FOLDERS, f"chat_univi|{split}", DESCRIPTION).relative_to(root).as_posix()
    talk = Talk("video", endings=(".mp4", ".mkv", ".webm"))
    return open_conversations(root, split, DESCRIPTION, f"{home}/video_chat.json", f"{home}/{VIDEOS}", talk)
