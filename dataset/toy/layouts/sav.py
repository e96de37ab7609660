"""Ref-SAV: SA-V's films with run lengths in every fourth frame, long and short captions; and its eval, which lies as MeViS does.

A film shows each drawn frame four times, so that the annotated frames are those of the clip. Added to the real format: nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from seglm.dataset.masks import run_lengths
from seglm.dataset.toy.clips import draw_frames, seen
from seglm.dataset.toy.film import save_mp4
from seglm.dataset.toy.layouts.mevis import targets_of
from seglm.dataset.toy.layouts.shots import save_json, save_picture
from seglm.dataset.toy.layouts.takes import Json, Take, asked, codes_of
from seglm.dataset.toy.scenes import Picture
from seglm.dataset.toy.telling import LOOK
from seglm.dataset.toy.words import Phrase, describe

FILMS = Path("video_datas/sam_v_full")
FILE = Path("sam_v_final_v3.json")
EVAL = Path("ref_sav_eval")
EVERY = 4  # shown frames of a drawn one
FIRST_FRAME = 100000  # number in the first frame's name in the eval
QUOTAS = {
    "own": 6,
    "reasoning": 2,
    "attribute": 2,
}  # expressions of a film, before those of several things are dropped
LONG_WORDS = "A {name}. It is the {text}."


def write_ref_sav(root: Path, takes: Iterable[Take]) -> int:
    """The training films with what is said of their objects; returns the number of objects that are captioned."""
    videos: Json = {}
    count = 0
    for take in takes:
        key = f"sav_{take.number:06d}"
        place = Path(key[:7]) / "sav_train" / key[:7]
        (root / FILMS / place).mkdir(parents=True, exist_ok=True)
        objects = {
            str(thing): {
                "formated": long_of(take, thing, phrases[0]),
                "short_caps": [one.text for one in phrases],
            }
            for thing, phrases in _captions(take).items()
        }
        if not objects:
            continue
        count += len(objects)
        save_mp4(_repeated(draw_frames(take.clip)), root / FILMS / place / f"{key}.mp4")
        masklet = [[run_lengths(mask) for mask in seen(scene)] for scene in take.clip.scenes]
        about = {"video_id": key, "masklet": masklet, "masklet_id": list(range(len(take.clip.things)))}
        save_json(about, root / FILMS / place / f"{key}_manual.json")
        files = {
            "video_path": f"sam_v_full/{place.as_posix()}/{key}.mp4",
            "anno_path": f"sam_v_full/{place.as_posix()}/{key}_manual.json",
        }
        videos[key] = {**files, "objects": objects}
    save_json(videos, root / FILE)
    return count


def write_ref_sav_eval(root: Path, takes: Iterable[Take]) -> int:
    """The eval: long captions (type 0) and short ones (type 1) in turn; returns the number of expressions."""
    videos: Json = {}
    mask_dict: dict[str, object] = {}
    count = 0
    for take in takes:
        key, first = f"sav_{take.number:06d}", len(mask_dict)
        names = [str(FIRST_FRAME + EVERY * number) for number in range(take.num_frames)]
        expressions: Json = {}
        for number, (thing, phrases) in enumerate(_captions(take).items()):
            text = phrases[0].text if number % 2 else long_of(take, thing, phrases[0])
            meant = targets_of(phrases[0], first)
            expressions[str(number)] = {"exp": text, **meant, "type_id": number % 2}
        if not expressions:
            continue
        folder = root / EVAL / "videos" / key
        folder.mkdir(parents=True)
        for name, picture in zip(names, draw_frames(take.clip), strict=True):
            save_picture(picture, folder / f"{name}.jpg")
        mask_dict |= {str(first + thing): codes for thing, codes in enumerate(codes_of(take))}
        height, width = take.size
        about = {"vid_id": key, "height": height, "width": width, "frames": names}
        videos[key] = {"expressions": expressions, **about}
        count += len(expressions)
    save_json({"videos": videos}, root / EVAL / "meta_expressions_valid.json")
    save_json(mask_dict, root / EVAL / "mask_dict.json")
    return count


def long_of(take: Take, thing: int, phrase: Phrase) -> str:
    """A long caption of a thing: how it looks, and what tells it from the others."""
    return LONG_WORDS.format(name=describe(take.clip.things[thing], LOOK).say(), text=phrase.text)


def _captions(take: Take) -> dict[int, list[Phrase]]:
    """Thing -> phrases that mean it alone, each once."""
    found: defaultdict[int, list[Phrase]] = defaultdict(list)
    for phrase in asked(take, "ref_sav", QUOTAS, none_odds=0):
        if len(phrase.targets) == 1 and not phrase.is_sentence:
            found[phrase.targets[0]].append(phrase)
    return dict(found)


def _repeated(pictures: Iterable[Picture]) -> Iterator[Picture]:
    for picture in pictures:
        yield from [np.asarray(picture)] * EVERY
