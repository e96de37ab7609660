"""The questions that the tiny LLaVA is asked, and how its answers are scored.

An answer is right if greedy decoding gives it to the letter. That is read off one pass over the true answer: greedy decoding
gives it exactly if each of its tokens is the most likely one after the true ones before it.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from seglm.bases.clip_cache import DrawnClip
from seglm.bases.clip_lessons import questions_about
from seglm.bases.clip_showing import clip_features, showing
from seglm.bases.packing import CHUNKS, Packer
from seglm.bases.scene_cache import DrawnScenes
from seglm.bases.tiny_llava import hidden_states, vision_features
from seglm.dataset.toy.asking import COLUMNS
from seglm.dataset.toy.families import BY_NAME
from seglm.dataset.toy.language import Question, questions
from seglm.dataset.toy.scenes import Scene, Split
from seglm.dataset.toy.watching import WATCH

PER_IMAGE = 18  # questions behind one image
EASY_UNTIL = 0.3  # share of the run in which things are named by their looks alone
EASY_FORMS = ("", "attribute", "class", "multi", "reasoning")
FAVOURED, FAVOUR = ("multi", "reasoning", "superlative"), 2.5  # forms that are asked so many times as often
CAPTION_ODDS = 0.1  # of a step in which every image is described, too


def training_questions(
    scene: Scene, rng: np.random.Generator, *, share: float, captioned: bool
) -> list[Question]:
    """Training questions about a scene; at the beginning easy ones."""
    asked = questions(scene, rng, split="train", draw=True)
    talk = [q for q in asked if q.kind != "caption"]
    late = rng.random(len(talk)) / [FAVOUR if q.form in FAVOURED else 1.0 for q in talk]
    drawn = [talk[i] for i in np.argsort(late)]
    chosen = [q for q in drawn if share >= EASY_UNTIL or q.form in EASY_FORMS][:PER_IMAGE]
    short = CHUNKS - len(chosen)
    chosen += [q for q in drawn if q not in chosen][: max(0, short)]
    return chosen + [q for q in asked if q.kind == "caption" and captioned]


@torch.no_grad()
def scores(
    llava: Any, packer: Packer, held_out: DrawnScenes, *, split: Split, wrong_image: bool = False
) -> dict[str, float]:
    """Exact match per kind, and per kind and form of naming ("colour/attribute"); for places also the first cell alone.

    split: whose wordings (val: half of the paraphrases and facts were never seen). wrong_image: shows another scene's image.
    """
    llava.eval()
    right: dict[str, list[float]] = defaultdict(list)
    for first in range(0, len(held_out.scenes), 10):
        scenes, pictures = held_out.scenes[first : first + 10], held_out.pictures[first : first + 10, 0]
        rows = [
            questions(scene, np.random.default_rng([9, first + i]), split=split, draw=True)
            for i, scene in enumerate(scenes)
        ]
        packed = packer.pack(rows)
        features = vision_features(llava, np.roll(pictures, 1, axis=0) if wrong_image else pictures)
        hidden = hidden_states(llava, packed, features)
        guesses = llava.lm_head(hidden).argmax(-1)
        for question, start, end in packed.spans:
            guess = guesses[start:end]
            is_right = float(torch.equal(guess, packed.answers[start:end]))
            right[question.kind].append(is_right)
            if question.form:
                right[f"{question.kind}/{question.form}"].append(is_right)
            if question.kind == "where" and question.form not in ("none", "multi", "class"):
                near, exact = _cell_scores(packer, guess, packed.answers[start:end])
                right["cell"].append(exact)
                right["cell_near"].append(near)
                right[f"cell_near/{question.form}"].append(near)
    return {name: round(float(np.mean(values)), 3) for name, values in sorted(right.items())}


@torch.no_grad()
def clip_scores(
    llava: Any,
    packer: Packer,
    held_out: Sequence[DrawnClip],
    *,
    wordings: bool = False,
    wrong_clip: bool = False,
) -> dict[str, float]:
    """Exact match per kind of question about clips, and per kind and form; for places also the name alone.

    wordings: those that training never uses, too. wrong_clip: shows the frames of another clip.
    """
    llava.eval()
    right: dict[str, list[float]] = defaultdict(list)
    for first in range(0, len(held_out), 10):
        rows = [showing(one) for one in held_out[first : first + 10]]
        asked = [
            questions_about(row, np.random.default_rng([9, first + i]), held_out=wordings)
            for i, row in enumerate(rows)
        ]
        packed = packer.pack(asked)
        shown = [rows[i - 1] for i in range(len(rows))] if wrong_clip else rows
        hidden = hidden_states(llava, packed, clip_features(llava, shown))
        guesses = llava.lm_head(hidden).argmax(-1)
        for question, start, end in packed.spans:
            same = guesses[start:end] == packed.answers[start:end]
            right[question.kind].append(float(same.all()))
            if question.form:
                right[f"{question.kind}/{question.form}"].append(float(same.all()))
            if question.kind == WATCH and len(question.targets) == 1:
                name_end = packer.words(packed.answers[start:end]).index(",")
                family = rows[int(packed.predicts[start, 0])].drawn.clip.family
                right[f"name/{question.form}"].append(float(same[:name_end].all()))
                if question.form == BY_NAME[family].kind:
                    right[f"name/{family}"].append(float(same[:name_end].all()))
    return {name: round(float(np.mean(values)), 3) for name, values in sorted(right.items())}


def _cell_scores(packer: Packer, guess: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    """Whether the first spoken cell is at most one off in both directions, and whether it is the right one."""
    cells = [_cell(token) for token in packer.words(truth)]
    place = next(i for i, cell in enumerate(cells) if cell is not None)
    want, got = cells[place], _cell(packer.words(guess[place : place + 1])[0])
    if want is None or got is None:
        return 0.0, 0.0
    return float(max(abs(want[0] - got[0]), abs(want[1] - got[1])) <= 1), float(want == got)


def _cell(word: str) -> tuple[int, int] | None:
    word = word.lstrip("\u2581")
    return (
        (COLUMNS.index(word[0]), int(word[1:]))
        if word[:1] and word[:1] in COLUMNS and word[1:].isdigit()
        else None
    )
