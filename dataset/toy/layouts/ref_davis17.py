"""Ref-DAVIS17, converted as ReferFormer does it, and the raw annotations and texts from which it is made.

Every object has four expressions: of two annotators, each by the first frame and by the whole video. Those by the first frame
speak of looks, those by the whole video of what the object does. Added to the real format: "kind" in each expression, which
other readers do not look at.
"""

import pickle
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from seglm.dataset.toy.clips import cast_of, seen
from seglm.dataset.toy.families import BY_NAME
from seglm.dataset.toy.layouts.ref_youtube_vos import save_codes
from seglm.dataset.toy.layouts.shots import save_json
from seglm.dataset.toy.layouts.takes import (
    OWN_KINDS,
    Json,
    Take,
    frame_names,
    link_files,
    save_frames,
    save_labels,
)
from seglm.dataset.toy.moving_language import expressions
from seglm.dataset.toy.referring import attribute_form
from seglm.dataset.toy.words import Phrase

FOLDER = Path("DAVIS17")
RAW = Path("DAVIS17_raw")
ANNOTATORS = ("annot1", "annot1_full_video", "annot2", "annot2_full_video")  # expression 4k + a of object k
LOOK_TRIES = 24
ROUNDS = 2  # of the language, to find two wordings of what an object does


def write_ref_davis17(root: Path, splits: Mapping[str, Iterable[Take]]) -> dict[str, int]:
    """Write split name (train, valid) -> takes; a take without a describable object is left out. Returns expressions."""
    counts = {}
    texts: dict[str, list[str]] = {annotator: [] for annotator in ANNOTATORS}
    semantics: Json = {}
    for split, takes in splits.items():
        videos: Json = {}
        objects: Json = {}
        codes: dict[str, list[Json | None]] = {}
        for take, described in _described(takes):
            name = f"toy-{take.number:06d}"
            _save_video(root, split, take, name, tuple(described))
            phrases = [phrase for of_thing in described.values() for phrase in of_thing]
            videos[name] = {
                "expressions": {
                    str(n): {"exp": phrase.text, "obj_id": str(n // 4 + 1), "kind": phrase.kind}
                    for n, phrase in enumerate(phrases)
                },
                "frames": frame_names(take),
            }
            shapes = {str(n): take.clip.things[i].shape for n, i in enumerate(described, start=1)}
            objects[name] = {"objects": {value: {"category": shape} for value, shape in shapes.items()}}
            semantics[name] = shapes
            for number, phrase in enumerate(phrases):
                line = f'{name} {number // 4 + 1} "{phrase.text}"\n'
                texts[ANNOTATORS[number % 4]].append(line)
            save_codes(take, phrases, codes)
        _save_split(root, split, videos, objects, codes)
        counts[split] = len(codes)
    save_json(semantics, root / RAW / "DAVIS/davis_semantics.json")
    for annotator, lines in texts.items():
        path = root / RAW / "davis_text_annotations" / f"Davis17_{annotator}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8" if "1" in annotator else "latin-1")
    return counts


def _described(takes: Iterable[Take]) -> Iterator[tuple[Take, dict[int, list[Phrase]]]]:
    """The takes, and for each object that can be described its four expressions."""
    for take in takes:
        looks, does = _look_phrases(take), _own_phrases(take)
        seen_first = [i for i, mask in enumerate(seen(take.clip.scenes[0])) if mask.any()]
        described = {
            i: [looks[i][0], does[i][0], looks[i][1], does[i][1]]
            for i in seen_first
            if len(looks.get(i, ())) > 1 and len(does.get(i, ())) > 1
        }
        if described:
            yield take, described


def _look_phrases(take: Take) -> dict[int, list[Phrase]]:
    """Thing -> phrases that fit it alone by its looks."""
    rng, found = take.rng("ref-davis17 looks"), dict[int, dict[str, Phrase]]()
    for _ in range(LOOK_TRIES):
        pair = attribute_form(take.clip.scenes[0], rng, take.split)
        changes = BY_NAME[take.clip.family].kind == "growth"
        if pair is not None and not (changes and "size" in pair.there.said):
            found.setdefault(pair.there.targets[0], {}).setdefault(pair.there.text, pair.there)
    return {thing: list(phrases.values()) for thing, phrases in found.items() if thing in cast_of(take.clip)}


def _own_phrases(take: Take) -> dict[int, list[Phrase]]:
    """Thing -> phrases that fit it alone by what it does."""
    rng, found = take.rng("ref-davis17 does"), dict[int, dict[str, Phrase]]()
    for _ in range(ROUNDS):
        for one in expressions(take.clip, rng, split=take.split):
            phrase = one.pair.there
            if phrase.kind in OWN_KINDS and len(phrase.targets) == 1:
                found.setdefault(phrase.targets[0], {}).setdefault(phrase.text, phrase)
    return {thing: list(phrases.values()) for thing, phrases in found.items()}


def _save_video(root: Path, split: str, take: Take, name: str, things: tuple[int, ...]) -> None:
    """Frames and masks, converted and raw, and the video's name in the list of its split."""
    values = {thing: value for value, thing in enumerate(things, start=1)}
    save_frames(take, root / FOLDER / split / "JPEGImages" / name)
    save_labels(take, root / FOLDER / split / "Annotations" / name, values)
    for kind, raw in (("JPEGImages", "JPEGImages/480p"), ("Annotations", "Annotations_unsupervised/480p")):
        link_files(root / FOLDER / split / kind / name, root / RAW / "DAVIS" / raw / name)
    listed = root / RAW / "DAVIS/ImageSets/2017" / f"{'val' if split == 'valid' else split}.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    with listed.open("a", encoding="utf-8") as file:
        file.write(f"{name}\n")


def _save_split(
    root: Path, split: str, videos: Json, objects: Json, codes: dict[str, list[Json | None]]
) -> None:
    save_json({"videos": videos}, root / FOLDER / "meta_expressions" / split / "meta_expressions.json")
    save_json({"videos": objects}, root / FOLDER / split / "meta.json")
    (root / FOLDER / split / "mask_dict.pkl").write_bytes(pickle.dumps(codes, protocol=4))
