"""ReasonVOS: frames, one folder of black and white PNGs for each object that is asked for, and meta_expressions.json.

An expression means one object. Every fourth video has masks at every second frame only, as the real videos of BURST have.
Added to the real format: "kind" in each expression, which other readers do not look at.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from seglm.dataset.toy.clips import seen
from seglm.dataset.toy.layouts.mevis import video_name
from seglm.dataset.toy.layouts.shots import save_json
from seglm.dataset.toy.layouts.takes import Json, Take, asked, frame_names, save_frames
from seglm.dataset.toy.words import Phrase

FOLDER = Path("ReasonVOS")
SOURCES = ("MeViS", "MOSE", "VIPSeg", "BURST")  # the data sets of the real videos; part of a folder's name
QUOTAS = {"reasoning": 5, "own": 1}  # expressions of a video


def write_reasonvos(root: Path, takes: Iterable[Take]) -> int:
    """Write the set, which has no splits; returns the number of expressions."""
    videos: Json = {}
    count = 0
    for take in takes:
        phrases = [p for p in asked(take, "reasonvos", QUOTAS, none_odds=0) if len(p.targets) == 1]
        if not phrases:
            continue
        name, source = video_name(take), SOURCES[take.number % len(SOURCES)]
        save_frames(take, root / FOLDER / "JPEGImages" / name)
        for thing in sorted({phrase.targets[0] for phrase in phrases}):
            folder = root / FOLDER / "Annotations" / f"{source}_{name}_{thing + 1}"
            _save_masks(take, thing, folder, every=2 if source == "BURST" else 1)
        videos[name] = {
            "source": source,
            "frames": frame_names(take),
            "expressions": [_expression(phrase, number) for number, phrase in enumerate(phrases)],
        }
        count += len(phrases)
    save_json({"videos": videos}, root / FOLDER / "meta_expressions.json")
    return count


def _expression(phrase: Phrase, number: int) -> Json:
    return {
        "obj_id": phrase.targets[0] + 1,
        "exp_id": number,
        "exp_text": phrase.text,
        "is_sent": phrase.is_sentence,
        "kind": phrase.kind,
    }


def _save_masks(take: Take, thing: int, folder: Path, *, every: int) -> None:
    folder.mkdir(parents=True)
    for name, scene in list(zip(frame_names(take), take.clip.scenes))[::every]:
        Image.fromarray(seen(scene)[thing].astype(np.uint8) * 255).save(folder / f"{name}.png")
