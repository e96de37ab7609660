"""Conversations in words: LLaVA-Instruct about COCO pictures, LLaVA's two mixtures, Chat-UniVi's about films."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seglm.dataset.toy.asking import NOWHERE, Question, fact_questions, spoken_spot
from seglm.dataset.toy.clips import draw_frames, seen
from seglm.dataset.toy.film import save_mp4
from seglm.dataset.toy.language import questions
from seglm.dataset.toy.layouts.coco import name_2017
from seglm.dataset.toy.layouts.shots import Shot, save_json, save_shot
from seglm.dataset.toy.layouts.takes import Take, save_frames
from seglm.dataset.toy.telling import grounded_caption
from seglm.dataset.toy.watching import clip_questions

FILE = Path("llava_dataset/llava_instruct_150k.json")
MAX_TURNS = 4  # few enough for the shortest context that a toy recipe uses
MIXTURE = Path("llava_data/LLaVA-Instruct-150K/llava_v1_5_mix665k.json")
MIXED_IMAGES = Path("llava_data/llava_images/coco/train2017")
PRETRAIN = Path("llava_data/LLaVA-Pretrain")
CHAT = Path("video_datas/chat_univi")
OWN = Path("my_data")
MAX_QUESTIONS = 6  # of a picture or a video that are scored
WORDS_ODDS = 0.1  # of a conversation about nothing that is shown; the real mixture has 6 percent
LAST_PLACE_ODDS = 0.3  # of the image tag behind the first question, not before it; the real file has both


def write_conversations(root: Path, shots: Iterable[Shot]) -> int:
    """One conversation for each picture; returns their number. Pictures: `coco`."""
    records = []
    for shot in shots:
        rng = shot.rng("llava_instruct")
        turns = questions(shot.scene, rng, split=shot.split)[: int(rng.integers(1, MAX_TURNS + 1))]
        if not turns:
            continue
        said = dialogue([(turn.text, turn.answer) for turn in turns])
        first = turns[0].text
        said[0]["value"] = f"{first}\n<image>" if rng.random() < LAST_PLACE_ODDS else f"<image>\n{first}"
        name = name_2017(shot)
        records.append({"id": name.removesuffix(".jpg"), "image": name, "conversations": said})
    save_json(records, root / FILE)
    return len(records)


def dialogue(turns: Sequence[tuple[str, str]], opening: str = "") -> list[dict[str, str]]:
    """(question, answer) pairs as LLaVA writes them; `opening` stands before the first question."""
    said = []
    for question, answer in turns:
        said += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    said[0]["value"] = opening + said[0]["value"]
    return said


def write_mixture(root: Path, shots: Iterable[Shot]) -> int:
    """LLaVA-1.5's mixture: conversations about pictures, some about nothing that is shown; returns their number."""
    (root / MIXED_IMAGES).mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for shot in shots:
        rng, key = shot.rng("llava_665k"), f"{shot.number:012d}"
        if rng.random() < WORDS_ODDS:
            turns = [(one.text, one.answer) for one in fact_questions(rng, split=shot.split)]
            records.append({"id": key, "conversations": dialogue(turns)})
            continue
        asked = questions(shot.scene, rng, split=shot.split)[: int(rng.integers(1, MAX_TURNS + 1))]
        save_shot(shot, root / MIXED_IMAGES / name_2017(shot))
        said = dialogue([(one.text, one.answer) for one in asked], "<image>\n")
        records.append({"id": key, "image": f"coco/train2017/{name_2017(shot)}", "conversations": said})
    save_json(records, root / MIXTURE)
    return len(records)


def write_pretrain(root: Path, shots: Iterable[Shot]) -> int:
    """LLaVA's first stage: a caption for each picture; returns their number."""
    records = []
    for shot in shots:
        image = f"{shot.number // 1000 % 1000:05d}/{shot.number:09d}.jpg"
        (root / PRETRAIN / "images" / image).parent.mkdir(parents=True, exist_ok=True)
        save_shot(shot, root / PRETRAIN / "images" / image)
        told = grounded_caption(shot.scene, shot.rng("llava_pretrain"), split=shot.split)
        said = dialogue([("Give a brief description of the image.\n<image>", told.text)])
        records.append({"id": Path(image).stem, "image": image, "conversations": said})
    save_json(records, root / PRETRAIN / "blip_laion_cc_sbu_558k.json")
    return len(records)


def write_questions(root: Path, shots: Iterable[Shot]) -> int:
    """Questions about pictures that nobody trains on, each with its kind; returns their number."""
    folder, records = root / OWN / "images", []
    folder.mkdir(parents=True, exist_ok=True)
    for shot in shots:
        asked = questions(shot.scene, shot.rng("my_qa"), split=shot.split)[:MAX_QUESTIONS]
        image = f"{shot.number:09d}.jpg"
        save_shot(shot, folder / image)
        records.append(
            {"id": str(shot.number), "image": image, "conversations": _with_kinds(asked, "<image>\n")}
        )
    save_json(records, root / OWN / "questions_val.json")
    return sum(len(one["conversations"]) // 2 for one in records)


def write_video_questions(root: Path, takes: Iterable[Take]) -> int:
    """The same about videos, as folders of frames; returns the number of questions."""
    folder, records = root / OWN / "videos", []
    for take in takes:
        asked, name = _about(take, "my_video_qa")[:MAX_QUESTIONS], f"{take.number:08d}"
        save_frames(take, folder / name)
        records.append({"id": name, "video": name, "conversations": _with_kinds(asked, "<video>\n")})
    save_json(records, root / OWN / "video_questions_val.json")
    return sum(len(one["conversations"]) // 2 for one in records)


def _with_kinds(asked: Sequence[Question], opening: str) -> list[dict[str, str]]:
    said = dialogue([(one.text, one.answer) for one in asked], opening)
    for answer, one in zip(said[1::2], asked, strict=True):
        answer["kind"] = one.kind
    return said


def _about(take: Take, purpose: str) -> Sequence[Question]:
    """Questions about a clip, in random order."""
    first, last = (seen(take.clip.scenes[place]) for place in (0, -1))
    spots = [
        tuple(spoken_spot(mask) if mask.any() else NOWHERE for mask in of_thing)
        for of_thing in zip(first, last)
    ]
    return clip_questions(take.clip, spots, take.rng(purpose), split=take.split)  # type: ignore[arg-type]


def write_chat(root: Path, takes: Iterable[Take]) -> int:
    """Chat-UniVi's conversations about films; returns their number."""
    folder = root / CHAT / "Activity_Videos"
    folder.mkdir(parents=True)
    records = []
    for take in takes:
        name = f"v_{take.number:08d}"
        save_mp4(draw_frames(take.clip), folder / f"{name}.mp4")
        said = dialogue(
            [(one.text, one.answer) for one in _about(take, "chat_univi")[:MAX_TURNS]], "<video>\n"
        )
        records.append({"id": name, "video": f"{name}.mp4", "conversations": said})
    save_json(records, root / CHAT / "video_chat.json")
    return len(records)
