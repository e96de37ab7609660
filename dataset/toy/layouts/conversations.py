"""LLaVA-Instruct: conversations in words about COCO pictures."""

from collections.abc import Iterable
from pathlib import Path

from seglm.dataset.toy.language import questions
from seglm.dataset.toy.layouts.coco import name_2017
from seglm.dataset.toy.layouts.shots import Shot, save_json

FILE = Path("llava_dataset/llava_instruct_150k.json")
MAX_TURNS = 4  # few enough for the shortest context that a toy recipe uses
LAST_PLACE_ODDS = 0.3  # of the image tag behind the first question, not before it; the real file has both


def write_conversations(root: Path, shots: Iterable[Shot]) -> int:
    """One conversation for each picture; returns their number. Pictures: `coco`."""
    records = []
    for shot in shots:
        rng = shot.rng("llava_instruct")
        turns = questions(shot.scene, rng, split=shot.split)[: int(rng.integers(1, MAX_TURNS + 1))]
        if not turns:
            continue
        said = []
        for turn in turns:
            said += [{"from": "human", "value": turn.text}, {"from": "gpt", "value": turn.answer}]
        first = turns[0].text
        said[0]["value"] = f"{first}\n<image>" if rng.random() < LAST_PLACE_ODDS else f"<image>\n{first}"
        name = name_2017(shot)
        records.append({"id": name.removesuffix(".jpg"), "image": name, "conversations": said})
    save_json(records, root / FILE)
    return len(records)
