"""Refer-YouTube-VOS: expressions, one object each, about the videos of YouTube-VOS.

The file of `valid` lists the videos of `test`, too, as the real one does: what is to be scored is in `valid` and not in `test`.
Added to the real format: "kind" in each expression, which other readers do not look at.
"""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

from seglm.dataset.toy.layouts import youtube_vos
from seglm.dataset.toy.layouts.shots import save_json
from seglm.dataset.toy.layouts.takes import (
    Json,
    Take,
    asked,
    codes_of,
    frame_names,
    link_files,
    save_frames,
)
from seglm.dataset.toy.layouts.youtube_vos import STEP, objects_of, video_name
from seglm.dataset.toy.words import Phrase

FOLDER = Path("Refer-YouTube-VOS")
QUOTAS = {"own": 4, "attribute": 2, "reasoning": 1}  # expressions of a video


def write_ref_youtube_vos(root: Path, splits: Mapping[str, Iterable[Take]]) -> dict[str, int]:
    """Write split name (train, valid, test) -> takes; returns the number of expressions of each.

    The videos of train are those of YouTube-VOS, which must be there already, under second names.
    """
    listed: dict[str, Json] = {}
    counts: dict[str, int] = {}
    for split, takes in splits.items():
        videos: Json = {}
        objects: Json = {}
        codes: dict[str, list[Json | None]] = {}
        counts[split] = 0
        for take in takes:
            name, folder = video_name(take), root / FOLDER / split
            phrases = one_object(take, "refer-youtube-vos", QUOTAS)
            videos[name] = {
                "expressions": {str(n): _expression(p, split) for n, p in enumerate(phrases)},
                "frames": frame_names(take, step=STEP),
            }
            counts[split] += len(phrases)
            if split != "train":
                save_frames(take, folder / "JPEGImages" / name, step=STEP)
            else:
                for kind in ("JPEGImages", "Annotations"):
                    link_files(root / youtube_vos.FOLDER / split / kind / name, folder / kind / name)
                objects[name] = {"objects": objects_of(take)}
                save_codes(take, phrases, codes)
        listed[split] = videos
        if split == "train":
            save_json({"videos": objects}, root / FOLDER / split / "meta.json")
            (root / FOLDER / split / "mask_dict.pkl").write_bytes(pickle.dumps(codes, protocol=4))
    if "test" in listed:
        listed["valid"] = {**listed["valid"], **listed["test"]}
    for split, videos in listed.items():
        save_json({"videos": videos}, root / FOLDER / "meta_expressions" / split / "meta_expressions.json")
    return counts


def one_object(take: Take, purpose: str, quotas: Mapping[str, int]) -> list[Phrase]:
    """Phrases that mean one thing."""
    return [phrase for phrase in asked(take, purpose, quotas, none_odds=0) if len(phrase.targets) == 1]


def save_codes(take: Take, phrases: list[Phrase], codes: dict[str, list[Json | None]]) -> None:
    """Add the masks of a video's expressions to VISA's mask_dict.

    Its keys count the expressions of all videos in sorted order, those of a video sorted as text ("10" before "2"); it is here
    called for videos in sorted order.
    """
    of_thing = codes_of(take)
    for number in sorted(range(len(phrases)), key=str):
        masks = of_thing[phrases[number].targets[0]]
        codes[str(len(codes))] = [
            code and {**code, "counts": str(code["counts"]).encode("ascii")} for code in masks
        ]


def _expression(phrase: Phrase, split: str) -> Json:
    words: Json = {"exp": phrase.text, "kind": phrase.kind}
    return (
        words
        if split != "train"
        else {"exp": phrase.text, "obj_id": str(phrase.targets[0] + 1), "kind": phrase.kind}
    )
