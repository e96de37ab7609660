"""The key frame of each expression of each video, in a JSON file of the form that GLUS' inference reads:

    {"VIDEO_EXPRESSION": "00012"}

VIDEO and EXPRESSION are what the data set calls them (of a film its file's name without the ending, and the question as it was
typed), the value is the name of the frame's own file, or its number (inference_iter.py of GLUS-video/GLUS at 8fd138b,
--score_json). There an expression that is not in the file is begun at the first frame; here that is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seglm.utils.atomic import write_atomic
from seglm.utils.encoding import read_json

MAKES = "python -m seglm.evaluation.keyframes --version SELECTOR chooses key frames"


@dataclass(frozen=True)
class KeyFrames:
    """What such a file holds."""

    path: Path
    frames: Mapping[str, str]
    """`VIDEO_EXPRESSION` -> name or number of the frame"""

    def frame(self, video: str, expression: str, names: Sequence[str]) -> int:
        """The key frame as an index into the video. names: of its frames, without ending.

        Raises ValueError if there is none in the file, or one that the video has not.
        """
        key = key_of(video, expression)
        if key not in self.frames:
            raise ValueError(
                f"--keyframes {self.path}: no key frame called {key!r} among its {len(self.frames)}; {MAKES}"
            )
        said = self.frames[key]
        if said in names:
            return names.index(said)
        numbers = [int(name) if name.isdecimal() else None for name in names]
        if said.isdecimal() and numbers.count(int(said)) == 1:
            return numbers.index(int(said))
        raise ValueError(
            f"--keyframes {self.path}: {key!r} has frame {said!r}, and the video has {len(names)} frames, {names[0]} "
            f"to {names[-1]}"
        )


def key_of(video: str, expression: str) -> str:
    """What an expression is called in the file."""
    return f"{video}_{expression}"


def video_called(path: Path) -> str:
    """What a film or a folder of frames is called in the file."""
    return path.resolve().name if path.is_dir() else path.stem


def read_key_frames(path: Path) -> KeyFrames:
    """Raises FileNotFoundError, and ValueError for a file of another form."""
    if not path.is_file():
        raise FileNotFoundError(f"--keyframes {path}: there is no such file; {MAKES}")
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f'--keyframes {path}: expected is {{"VIDEO_EXPRESSION": "FRAME"}}; {MAKES}')
    for key, frame in content.items():
        if isinstance(frame, bool) or not isinstance(frame, int | str):
            raise ValueError(
                f"--keyframes {path}: {key!r} has {frame!r}; permitted are names and numbers of frames"
            )
    return KeyFrames(path, {key: str(frame) for key, frame in content.items()})


def write_key_frames(path: Path, chosen: Sequence[tuple[str, str, str]]) -> None:
    """Writes (video, expression, name of the frame), whole or not at all; adds nothing to what the file held.

    Raises ValueError where two expressions would have one name: `a_1` of video `b`, and `1` of video `b_a`.
    """
    frames: dict[str, str] = {}
    for video, expression, frame in chosen:
        if (key := key_of(video, expression)) in frames:
            raise ValueError(
                f"{path}: two expressions would be called {key!r}, the second is {expression!r} of video {video!r}; the form of "
                "the file cannot tell them apart. Rename the video"
            )
        frames[key] = frame
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(frames, indent=1))
