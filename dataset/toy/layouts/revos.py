"""ReVOS: both splits in one folder, one mask_dict.json, and the union of all objects of each video.

An expression is referring (type 0), reasoning (1) or means nothing (2). Added to the real format: "kind" in each expression,
which its readers do not look at.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from seglm.dataset.toy.layouts.mevis import targets_of
from seglm.dataset.toy.layouts.shots import save_json
from seglm.dataset.toy.layouts.takes import Codes, Json, Take, asked, codes_of, frame_names, save_frames
from seglm.dataset.toy.moving_language import NONE_ODDS
from seglm.dataset.toy.words import Phrase

FOLDER = Path("ReVOS")
SOURCE = "TOY"  # the real videos come from several data sets; their names begin with its name
QUOTAS = {"reasoning": 4, "own": 2, "multi": 1, "attribute": 1}  # expressions of a video


def write_revos(root: Path, splits: Mapping[str, Iterable[Take]]) -> dict[str, int]:
    """Write split name (train, valid) -> takes; returns the number of expressions of each."""
    mask_dict: dict[str, object] = {}
    foreground: Json = {}
    counts = {}
    for split, takes in splits.items():
        videos: Json = {}
        counts[split] = 0
        for take in takes:
            name, first, codes = f"{SOURCE}_{take.number:08d}", len(mask_dict), codes_of(take)
            save_frames(take, root / FOLDER / "JPEGImages" / name)
            phrases = asked(take, "revos", QUOTAS, none_odds=NONE_ODDS)
            height, width = take.size
            videos[name] = {
                "vid_id": len(videos),
                "height": height,
                "width": width,
                "frames": frame_names(take),
                "expressions": {str(n): _expression(phrase, first) for n, phrase in enumerate(phrases)},
                "source": SOURCE,
            }
            mask_dict |= {str(first + thing): of_thing for thing, of_thing in enumerate(codes)}
            foreground[name] = _foreground(codes, take.size)
            counts[split] += len(phrases)
        save_json({"videos": videos}, root / FOLDER / f"meta_expressions_{split}_.json")
    save_json(mask_dict, root / FOLDER / "mask_dict.json")
    save_json(foreground, root / FOLDER / "mask_dict_foreground.json")
    return counts


def _expression(phrase: Phrase, first: int) -> Json:
    sort = {"none": 2, "reasoning": 1}.get(phrase.kind, 0)
    words: Json = {"exp": phrase.text}
    return {**words, **targets_of(phrase, first), "type_id": sort, "kind": phrase.kind}


def _foreground(codes: Codes, size: tuple[int, int]) -> Json:
    """The union of all objects at each frame, and its share of the picture."""
    unions, ratios = [], []
    for at_frame in zip(*codes):
        there = [code for code in at_frame if code is not None] or [_empty(size)]
        union = coco_mask.merge(there)
        ratios.append(float(coco_mask.area(union)) / (size[0] * size[1]))
        unions.append({"size": list(union["size"]), "counts": union["counts"].decode("ascii")})
    return {"masks_rle": unions, "foreground_ratio": ratios}


def _empty(size: tuple[int, int]) -> Json:
    coded: Json = coco_mask.encode(np.zeros(size, dtype=np.uint8, order="F"))
    return coded
