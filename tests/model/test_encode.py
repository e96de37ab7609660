"""A dialogue becomes ids, labels and placed slots in one pass; ids and labels are LISA's, token by token."""

from __future__ import annotations

import itertools
import json
import pickle
import random
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seglm.model.backbones.encode import DialogueEncoder
from seglm.model.backbones.templates import template
from seglm.model.backbones.tokenizer import load_tokenizer
from seglm.utils.types import IGNORE_LABEL, IMAGE_POSITION, Branch, Dialogue, Images, Piece, Slot, Turn

GOLDENS = Path(__file__).parents[1] / "goldens" / "tokenizer"
CONVERSATIONS: list[dict[str, Any]] = json.loads((GOLDENS / "fixtures.json").read_text(encoding="utf-8"))[
    "conversations"
]
MARKS = ("<im_start>", "<im_end>")
TEMPLATES = ("llava_v1", "llava_llama_2")
SEG = Slot("[SEG]", target=0, frames=(0,))


@cache
def encoder(
    name: str = "llava_v1", patches: int = 1, marks: tuple[str, str] | None = MARKS, max_length: int = 4096
) -> DialogueEncoder:
    return DialogueEncoder(
        tokenizer=load_tokenizer(GOLDENS),
        template=template(name),
        patches=patches,
        image_tokens=marks,
        tokens=("[SEG]",),
        max_length=max_length,
    )


def slots(text: str) -> tuple[Piece, ...]:
    """The text with every "[SEG]" as a slot; () stays for an answer to be generated, so an empty text is ("",)."""
    parts = re.split(r"(\[SEG\])", text)
    return tuple(SEG if part == "[SEG]" else part for part in parts if part) or ("",)


def question(text: str) -> tuple[Piece, ...]:
    shown = "<im_start><image><im_end>"
    return (Images((0,)), text.removeprefix(shown)) if text.startswith(shown) else (text,)


def talk(*turns: tuple[str, str]) -> Dialogue:
    return Dialogue(tuple(Turn(question(ask), slots(answer)) for ask, answer in turns))


def answers(encoded: Branch) -> list[list[int]]:
    """The trained ids, a list for each run of them."""
    runs = itertools.groupby(encoded.labels.tolist(), key=lambda label: label != IGNORE_LABEL)
    return [list(run) for trained, run in runs if trained]


@pytest.mark.parametrize(
    "case", CONVERSATIONS, ids=lambda case: f"{case['template']} {case['turns'][-1]}"[:60]
)
def test_ids_and_labels_of_a_conversation_are_lisas(case: dict[str, Any]) -> None:
    got = encoder(case["template"]).encode(talk(*map(tuple, case["turns"])))
    assert got.ids.tolist() == case["ids"]
    assert got.labels.tolist() == case["labels"]


@pytest.mark.parametrize("case", CONVERSATIONS[:: len(CONVERSATIONS) // 8])
def test_an_open_dialogue_is_the_beginning_of_the_complete_one(case: dict[str, Any]) -> None:
    turns = talk(*map(tuple, case["turns"])).turns
    complete = encoder(case["template"]).encode(Dialogue(turns))
    prompt = encoder(case["template"]).encode(Dialogue((*turns[:-1], Turn(turns[-1].question))), open=True)
    asked = complete.ids[: len(complete.ids) - len(answers(complete)[-1])]
    assert prompt.ids.tolist() == asked.tolist()
    assert [len(run) for run in answers(prompt)] == [len(run) for run in answers(complete)[:-1]]


SAID = [
    "It is [SEG].",
    "[SEG]",
    "[SEG].",
    "[SEG] [SEG]",
    "Sure, [SEG], [SEG] and [SEG]!",
    "(see [SEG])",
    'the "[SEG]" there',
    "[SEG]. It is round;\nit has no corners.",
    "",
    "caf\u00e9 \u732b \U0001f600",
    "two  spaces",
    "a\n\nb",
    "12345",
]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_trained_ids_say_exactly_the_answers(name: str, count: int) -> None:
    rng = random.Random(count)
    for _ in range(20):
        said = [rng.choice(SAID) for _ in range(count)]
        turns = [(rng.choice(["Where?", "Is [SEG] a token?", "caf\u00e9\n", ""]), answer) for answer in said]
        got = encoder(name).encode(talk(*turns))
        heard = [encoder(name).decode(run) for run in answers(got)]
        assert [
            text.removesuffix(" ") for text in heard
        ] == said  # Llama-2 writes a space before the end token
        assert all(run[-1] == encoder(name).eos for run in answers(got))
        assert got.labels[0] == IGNORE_LABEL and got.ids[0] == encoder(name).bos


def test_an_unknown_token_in_an_answer_is_trained_like_any_other() -> None:
    """LISA's pad is unk, and a count of `ids != pad` loses such a word (LISA issue 193)."""
    got = encoder().encode(talk(("Where?", "an <unk> bird")))
    assert encoder().pad in answers(got)[0]
    assert encoder().decode(answers(got)[0]) == "an <unk> bird"


def test_an_end_token_inside_an_answer_stays_inside_it() -> None:
    """LISA splits rounds at the text "</s>" and trips over its own assertion here; spans cannot."""
    got = encoder().encode(talk(("Where?", "one </s> two")))
    assert len(answers(got)) == 1
    assert answers(got)[0].count(encoder().eos) == 2


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_slot_stands_at_its_own_token_and_a_typed_one_is_none(name: str) -> None:
    left, right = Slot("[SEG]", 0, (0,)), Slot("[SEG]", 1, (0,))
    ask = Turn(
        (Images((0,)), "\nWhat does [SEG] mean? [SEG]"), ("[SEG] is ", left, ", the other ", right, ".")
    )
    got = encoder(name, patches=7).encode(Dialogue((ask,)))
    where = np.flatnonzero(got.ids == encoder(name).token_id("[SEG]")).tolist()
    assert len(where) == 5
    assert [(placed.slot.target, placed.place) for placed in got.slots] == [(0, where[3]), (1, where[4])]


@pytest.mark.parametrize(
    "pieces, frame, patch",
    [
        ((Images((0,)),), [0, 0, 0], [0, 1, 2]),
        ((Images((2, 0)),), [2, 2, 2, 0, 0, 0], [0, 1, 2, 0, 1, 2]),
        ((Images((0, 1), "pooled"), Images((1,))), [0, 1, 1, 1, 1], [3, 3, 0, 1, 2]),
        ((), [], []),
    ],
)
@pytest.mark.parametrize("marks", [MARKS, None])
def test_images_expand_to_their_positions(
    pieces: tuple[Piece, ...], frame: list[int], patch: list[int], marks: tuple[str, str] | None
) -> None:
    coder = encoder("llava_v1", 3, marks)
    got = coder.encode(Dialogue((Turn((*pieces, "\nWhere?"), ("It is ", SEG, ".")),)))
    shown = got.ids == IMAGE_POSITION
    assert got.frame[shown].tolist() == frame
    assert got.patch[shown].tolist() == patch
    assert (got.frame[~shown] == -1).all() and (got.patch[~shown] == -1).all()
    assert (got.labels[shown] == IGNORE_LABEL).all()
    assert got.ids[got.slots[0].place] == coder.token_id("[SEG]")
    if marks:
        frames = sum(len(piece.frames) for piece in pieces if isinstance(piece, Images))
        assert [(got.ids == coder.token_id(mark)).sum() for mark in marks] == [frames, frames]


def test_a_long_dialogue_is_cut_at_its_right_end() -> None:
    dialogue = talk(("Where?", "It is [SEG]. " + "and so on " * 30))
    whole = encoder().encode(dialogue)
    limit = len(whole.ids) - 20
    got = encoder(max_length=limit).encode(dialogue)
    assert got.ids.tolist() == whole.ids[:limit].tolist()
    assert got.labels.tolist() == whole.labels[:limit].tolist()
    assert got.slots == whole.slots


@pytest.mark.parametrize("patches", [1, 4, 9])
def test_a_cut_keeps_the_text_that_lisa_keeps(patches: int) -> None:
    """LISA cuts text and sentinel to max_length less what the image adds, before it expands the image."""
    case = next(
        case for case in CONVERSATIONS if "corners" in case["text"] and case["template"] == "llava_v1"
    )
    kept = len(case["ids"]) - 6
    got = encoder(patches=patches, max_length=kept + patches - 1).encode(talk(*map(tuple, case["turns"])))
    expanded = [
        number for one in case["ids"][:kept] for number in [one] * (patches if one == IMAGE_POSITION else 1)
    ]
    assert got.ids.tolist() == expanded


@pytest.mark.parametrize(
    "answer, room, lost",
    [
        ("word " * 9 + "[SEG].", -4, r"would lose slots \['\[SEG\]'\]"),
        ("Yes.", -20, "would lose every trained token"),
    ],
)
def test_a_cut_that_loses_a_slot_or_the_answer_names_the_sample_and_the_remedy(
    answer: str, room: int, lost: str
) -> None:
    dialogue = talk(("Where?", answer))
    length = len(encoder().encode(dialogue).ids)
    with pytest.raises(ValueError, match=rf"toy\|train/7: .*{lost}; set backbone.max_length={length}"):
        encoder(max_length=length + room).encode(dialogue, key="toy|train/7")


def test_a_cut_through_an_image_is_an_error() -> None:
    dialogue = Dialogue((Turn(("Where?",), ("Here.",)), Turn((Images((0,)),), ("Yes.",))))
    whole = encoder(patches=50).encode(dialogue)
    limit = int(np.flatnonzero(whole.ids == IMAGE_POSITION)[10])
    with pytest.raises(ValueError, match=r"would lose 40 image positions"):
        encoder(patches=50, max_length=limit).encode(dialogue)


def test_an_open_dialogue_is_never_cut() -> None:
    prompt = Dialogue((Turn(("Where? " * 50,)),))
    assert len(encoder(max_length=20).encode(prompt, open=True).ids) > 20


def test_a_script_encodes_its_dialogues_and_leaves_the_unanswered_open() -> None:
    script = (talk(("Where?", "It is [SEG].")), Dialogue((Turn(("Where?",)),)))
    complete, prompt = encoder().encode_script(script, key="a")
    assert len(answers(complete)) == 1
    assert answers(prompt) == []
    bad = (*script, Dialogue((Turn(("Where?",), (Slot("[KEY]", 0, ()),)),)))
    with pytest.raises(
        ValueError, match=r"^a, dialogue 3 of 3: '\[KEY\]' is not a token of this model; it has"
    ):
        encoder().encode_script(bad, key="a")


@pytest.mark.parametrize(
    "turns, open, message",
    [
        ((), False, "without turns"),
        ((Turn(("Where?",)),), False, r"turn 1 of 1 has no answer"),
        ((Turn(("Where?",), ("Here.",)),), True, r"turn 1 of 1 has an answer"),
        ((Turn(("Where?",)), Turn(("Where?",), ("Here.",))), False, r"turn 1 of 2 has no answer"),
    ],
)
def test_a_missing_or_superfluous_answer_is_an_error(
    turns: tuple[Turn, ...], open: bool, message: str
) -> None:
    with pytest.raises(ValueError, match=f"k: .*{message}"):
        encoder().encode(Dialogue(turns), open=open, key="k")


def test_an_unknown_template_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown chat template 'llava_v2'; did you mean llava_v1"):
        template("llava_v2")


def test_an_encoder_goes_through_pickle() -> None:
    dialogue = talk(("Where?", "It is [SEG]."))
    copy = pickle.loads(pickle.dumps(encoder()))
    assert copy.encode(dialogue).ids.tolist() == encoder().encode(dialogue).ids.tolist()


NOT_A_COUNT = re.compile(
    r"uint8|byte|pixel|palette|ignore|colou?r|grey|gray|mask|void|shade|dim|width|hidden|channels",
    re.IGNORECASE,
)


def test_no_count_of_image_tokens_is_written_into_the_code() -> None:
    """Every fork of LISA carries its own 255, 256 or 575; here positions are recorded, never computed."""
    root = Path(__file__).parents[2]
    files = [path for folder in ("model", "dataset") for path in (root / folder).rglob("*.py")]
    for path in files:
        if {"toy", "readers", "sources"} & set(path.relative_to(root).parts):
            continue  # these read and write pixels, where 255 is a class; they never see a token
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                counts = token.type == tokenize.NUMBER and token.string in {"255", "256", "575", "576"}
                assert not counts or NOT_A_COUNT.search(token.line), (
                    f"{path.relative_to(root)}:{token.start[0]}: {token.line.strip()!r}; if it is a pixel value or a "
                    f"width, let the line say so, if it counts image tokens, use `patches`"
                )
