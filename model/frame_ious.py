"""How well each frame of a video was drawn, for each of its expressions: what GLUS' key-frame selector learns from.

A JSON file {KEY OF THE VIDEO: {KEY OF THE EXPRESSION: [a number a frame]}}, keys as `Sample.key` (`mevis|train/0a7a2514aa0b`) and
`Target.key` have them; numbers are IoUs from 0 to 1, null where no mask is published. The original's form is not known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from seglm.utils.atomic import write_atomic
from seglm.utils.encoding import read_json

Row = Sequence[float | None]
DIGITS = 4  # of an IoU in a file; more say nothing, and a file of MeViS has two million


@dataclass(frozen=True)
class FrameIous:
    """The content of one file, or of several."""

    place: str
    """for messages"""
    videos: Mapping[str, Mapping[str, Row]]

    def of(self, video: str, expression: str, frame: int, *, text: str = "") -> float | None:
        """The IoU of a frame, None where none is known. text: the expression's words, for messages.

        Raises ValueError for what is not in the file.
        """
        what = f"{video}, expression {expression or '(without a key)'}{f' ({text!r})' if text else ''}"
        expressions = self.videos.get(video)
        if expressions is None or expression not in expressions:
            raise ValueError(
                f"{self.place}: no IoUs of {what}; there are {len(self.videos)} videos. Draw the whole split that is trained on "
                "(evaluation.run --inference_only --allow_leak) and write the file anew (evaluation.keyframes)"
            )
        row = expressions[expression]
        if not 0 <= frame < len(row):
            raise ValueError(
                f"{self.place}: {what} has {len(row)} frames there, and frame {frame} is asked for; the file is of other frames"
            )
        return row[frame]


def opened(places: Sequence[str]) -> FrameIous:
    """Several files as one; each is read once in a process.

    Raises FileNotFoundError, and ValueError for a file of another form and for a video that is in two.
    """
    found: dict[str, Mapping[str, Row]] = {}
    for place in places:
        path = Path(place)
        if not path.is_file():
            raise FileNotFoundError(f"terms.score.targets={','.join(places)}: there is no file {path}")
        videos = _read(path, path.stat().st_mtime_ns)
        if twice := sorted(found.keys() & videos.keys()):
            raise ValueError(
                f"terms.score.targets={','.join(places)}: {twice[0]} is in two of them; name one file of each split"
            )
        found |= videos
    return FrameIous(" and ".join(places), found)


def write(path: Path, rows: Iterable[tuple[str, str, Row]]) -> int:
    """Writes (video, expression, row) of all expressions, whole or not at all. Returns how many IoUs are known."""
    videos: dict[str, dict[str, Row]] = {}
    known = 0
    for video, expression, row in rows:
        rounded = [None if value is None else round(value, DIGITS) for value in row]
        known += sum(value is not None for value in rounded)
        if videos.setdefault(video, {}).setdefault(expression, rounded) is not rounded:
            raise ValueError(
                f"{path}: two expressions of {video} are called {expression!r}; a file holds each once"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(videos))
    return known


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> Mapping[str, Mapping[str, Row]]:
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(one, dict) for one in content.values()):
        raise ValueError(
            f"{path}: this is no file of IoUs; expected is {{video: {{expression: [a number a frame]}}}}, as "
            "evaluation.keyframes --predictions writes it"
        )
    for video, expressions in content.items():
        for expression, row in expressions.items():
            if not isinstance(row, list) or not all(map(_is_iou, row)):
                raise ValueError(
                    f"{path}: {video}, expression {expression!r}: permitted are lists of numbers from 0 to 1, and null"
                )
    return content


def _is_iou(value: Any) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    )
