"""`python -m seglm.dataset.davis --davis DAVIS --texts davis_text_annotations --out data/DAVIS17`: makes Ref-DAVIS17.

Videos and masks are those of DAVIS-2017-Unsupervised-trainval-480p, texts those of Khoreva et al. What is written is what
ReferFormer's convert_davis_to_ytvos.py writes: expression 4 k + a of a video is annotator a's of the k-th object, objects sorted
as texts; a is 0, 1 for the first person (who saw the first frame, the whole video), 2, 3 for the second.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seglm.dataset.faults import blamed, fault
from seglm.dataset.frames import read_bytes
from seglm.dataset.readers.files import files_in, read_json
from seglm.dataset.readers.video import ENDINGS
from seglm.utils.atomic import write_folder
from seglm.utils.command import command
from seglm.utils.encoding import text_of
from seglm.utils.flags import Parser
from seglm.utils.folders import check_new, same_file
from seglm.utils.ranges import place

TEXTS = tuple(f"Davis17_annot{person}{seen}.txt" for person in (1, 2) for seen in ("", "_full_video"))
"""one file an annotator"""
SPLITS = {"train": "train", "valid": "val"}
"""ours -> that of DAVIS"""
MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
LINE = re.compile(r'(\S+)\s+(\d+)\s+"(.*)"')
IMAGES, MASKS = "JPEGImages/480p", "Annotations_unsupervised/480p"
NAME = "DAVIS"

Said = Mapping[tuple[str, str], str]
"""(video, object) -> words"""


def convert(davis: Path, texts: Path, out: Path) -> dict[str, int]:
    """Writes `out` as a whole; returns the number of expressions of each split.

    Raises Fault if a file is missing or malformed, ValueError if there is something in `out`.
    """
    check_new(out, "--out")
    said = [_said(texts / name) for name in TEXTS]
    classes = read_json(davis / "davis_semantics.json", NAME)
    counts: dict[str, int] = {}

    def fill(folder: Path) -> None:
        for split, theirs in SPLITS.items():
            names = read_bytes(davis / f"ImageSets/2017/{theirs}.txt", NAME).decode().split()
            expressions = {video: _expressions(davis, video, said) for video in names}
            objects = {video: {"objects": _classes(classes, video, davis)} for video in names}
            _write(folder / "meta_expressions" / split / "meta_expressions.json", expressions)
            _write(folder / split / "meta.json", objects)
            for ours, raw in (("JPEGImages", IMAGES), ("Annotations", MASKS)):
                for video in names:
                    shutil.copytree(
                        davis / raw / video, folder / split / ours / video, copy_function=same_file
                    )
            counts[split] = sum(len(one["expressions"]) for one in expressions.values())

    write_folder(out, fill)
    return counts


def _said(file: Path) -> Said:
    """What one annotator says of each object. Raises Fault with the line that is malformed, or there twice."""
    found: dict[tuple[str, str], str] = {}
    content = read_bytes(file, NAME)
    with blamed(NAME, file):
        for number, line in enumerate(text_of(content)[0].splitlines(), 1):
            if not line.strip():
                continue
            match = LINE.fullmatch(line.strip())
            if not match:
                raise ValueError(f'line {number} is {line[:80]!r}, permitted is: video object "words"')
            video, thing, words = match.groups()
            key = (MISSPELT.get(video, video), thing)
            if key in found:
                raise ValueError(f"line {number}: there are two texts for object {thing} of {video}")
            found[key] = words
    return found


def _expressions(davis: Path, video: str, said: Sequence[Said]) -> dict[str, Any]:
    objects = sorted({thing for one in said for name, thing in one if name == video})
    lacking = [
        f"{thing} in {TEXTS[a]}"
        for thing in objects
        for a, one in enumerate(said)
        if (video, thing) not in one
    ]
    if lacking or not objects:
        raise fault(f"{NAME}/{video}", davis, f"no text for object {', '.join(lacking) or 1}; each has four")
    frames = files_in(davis / IMAGES / video, *ENDINGS)
    pairs = [(thing, one[video, thing]) for thing in objects for one in said]
    return {
        "expressions": {
            str(number): {"exp": words, "obj_id": thing} for number, (thing, words) in enumerate(pairs)
        },
        "frames": sorted(frames),
    }


def _classes(classes: Mapping[str, Mapping[str, str]], video: str, davis: Path) -> dict[str, object]:
    with blamed(f"{NAME}/{video}", davis / "davis_semantics.json"):
        return {thing: {"category": name} for thing, name in classes[video].items()}


def _write(file: Path, videos: Mapping[str, object]) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"videos": videos}), encoding="utf-8")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = Parser(prog="python -m seglm.dataset.davis", description=__doc__)
    parser.add_argument(
        "--davis", type=place, required=True, help="with JPEGImages, Annotations_unsupervised, ImageSets"
    )
    parser.add_argument("--texts", type=place, required=True, help=f"with {', '.join(TEXTS)}")
    parser.add_argument("--out", type=place, required=True, help="a folder that is not there yet")
    options = parser.parse_args(arguments)
    counts = convert(options.davis, options.texts, options.out)
    told = ", ".join(f"{split}: {count} expressions" for split, count in counts.items())
    sys.stdout.write(f"{options.out}: {told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
