"""MeViS: frames, meta_expressions.json and, but for `valid`, mask_dict.json with the run lengths of every object.

Expressions are of all kinds, mostly of motion. In the second release, meta_expressions_v2.json, some more mean nothing (empty
"obj_id" and "anno_id"). Added to the real format: "kind" in each expression, which other readers do not look at.
"""

from collections.abc import Iterable
from pathlib import Path

from seglm.dataset.toy.layouts.shots import save_json
from seglm.dataset.toy.layouts.takes import Json, Take, asked, codes_of, frame_names, save_frames
from seglm.dataset.toy.moving_language import NONE_ODDS
from seglm.dataset.toy.words import Phrase

FOLDER = Path("mevis")
QUOTAS = {"own": 4, "multi": 2, "reasoning": 1, "attribute": 1}  # expressions of a video


def write_mevis(root: Path, split: str, takes: Iterable[Take]) -> int:
    """Write one split: train, valid_u, or valid, whose masks nobody has; returns how many expressions the first release has."""
    folder, has_masks = root / FOLDER / split, split != "valid"
    videos: Json = {}
    first_release: Json = {}
    mask_dict: dict[str, object] = {}
    count = 0
    for take in takes:
        name, first = video_name(take), len(mask_dict)
        save_frames(take, folder / "JPEGImages" / name)
        phrases = asked(take, "mevis", QUOTAS, none_odds=NONE_ODDS)
        video = {"vid_id": len(videos), "frames": frame_names(take)}
        every = {str(n): _expression(phrase, first, has_masks) for n, phrase in enumerate(phrases)}
        meant = {n: one for (n, one), phrase in zip(every.items(), phrases, strict=True) if phrase.targets}
        videos[name], first_release[name] = {"expressions": every, **video}, {"expressions": meant, **video}
        mask_dict |= {str(first + thing): codes for thing, codes in enumerate(codes_of(take))}
        count += len(meant)
    save_json({"videos": videos}, folder / "meta_expressions_v2.json")
    save_json({"videos": first_release}, folder / "meta_expressions.json")
    if has_masks:
        save_json(mask_dict, folder / "mask_dict.json")
    return count


def video_name(take: Take) -> str:
    """Twelve digits, as the real names have twelve characters."""
    return f"{take.number:012d}"


def targets_of(phrase: Phrase, first: int) -> Json:
    """The objects of an expression and their keys in mask_dict; `first` is that of the video's first thing."""
    return {"obj_id": list(phrase.targets), "anno_id": [first + thing for thing in phrase.targets]}


def _expression(phrase: Phrase, first: int, has_masks: bool) -> Json:
    words: Json = {"exp": phrase.text}
    return {**words, **(targets_of(phrase, first) if has_masks else {}), "kind": phrase.kind}
