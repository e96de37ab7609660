"""What an answer holds: masks as arrays, run lengths and files, and the words that belong to each."""

from __future__ import annotations

import io
import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from seglm.utils.answers import Answer, Spoken
from seglm.utils.prediction import FramePrediction, Prediction, phrases_of, seen


def answer(*masks: np.ndarray | None, text: str = "", tokens: tuple[str, ...] = ()) -> Answer:
    logits = [None if mask is None else torch.from_numpy(np.where(mask, 2.0, -2.0)) for mask in masks]
    tokens = tokens or ("[SEG]",) * len(masks)
    scores = tuple(0.0 if mask is None else 0.5 for mask in masks)
    return Answer(Spoken(text or " ".join(tokens), (), "ok", tokens), tuple(logits), scores)


@pytest.mark.parametrize(
    "rows",
    [["...", "..."], ["###", "###"], ["#..", "..."], ["..#", "###"], [".#.", "#.#"], ["#"], ["."]],
)
def test_a_mask_is_the_same_as_array_run_lengths_and_file(rows: list[str]) -> None:
    mask = np.array([[sign == "#" for sign in row] for row in rows])
    [segment] = seen(0, answer(mask), mask.shape).segments
    np.testing.assert_array_equal(segment.mask, mask)
    assert segment.mask.flags.c_contiguous
    rle = json.loads(json.dumps(segment.rle()))
    np.testing.assert_array_equal(coco.decode(rle), mask)
    assert rle == {**coco.encode(np.asfortranarray(mask.astype(np.uint8))), "counts": rle["counts"]}
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(segment.png())).convert("L")), mask * 255)


def test_run_lengths_are_a_tenth_of_a_mask_and_less() -> None:
    y, x = np.mgrid[:720, :1280]
    mask = np.hypot(y - 300, x - 500) < 200
    [segment] = seen(0, answer(mask), mask.shape).segments
    assert len(segment.runs) < mask.nbytes / 200
    np.testing.assert_array_equal(segment.mask, mask)


def test_what_is_rejected_has_an_empty_mask_and_says_so() -> None:
    one = seen(0, answer(np.ones((2, 3), bool), None, tokens=("[SEG]", "[REJ]")), (2, 3))
    assert [segment.is_rejected for segment in one.segments] == [False, True]
    assert one.masks.sum((1, 2)).tolist() == [6, 0] and one.scores == (0.5, 0.0)


@pytest.mark.parametrize(
    "text, tokens, want",
    [
        ("It is [SEG].", ["[SEG]"], [""]),
        ("<p> A ring </p> [SEG] on <p>grass</p>[SEG].", ["[SEG]", "[SEG]"], ["A ring", "grass"]),
        ("<p> A ring </p> and [SEG]", ["[SEG]"], [""]),  # the phrase does not stand right before it
        ("<p> no end [SEG] <p> b </p> [REJ]", ["[SEG]", "[REJ]"], ["", "b"]),
        ("<p> two\nlines </p> [SEG] [SEG]", ["[SEG]", "[SEG]"], ["two\nlines", ""]),
    ],
)
def test_a_phrase_belongs_to_the_slot_behind_it(text: str, tokens: list[str], want: list[str]) -> None:
    assert list(phrases_of(text, tokens)) == want


def test_a_video_has_an_axis_for_its_frames_and_slots_that_a_frame_lacks_are_empty() -> None:
    on, off = np.ones((2, 3), bool), np.zeros((2, 3), bool)
    frames = [
        seen(0, answer(text="Nothing."), (2, 3)),
        seen(1, answer(on), (2, 3)),
        seen(2, answer(off, on), (2, 3)),
    ]
    film = Prediction(tuple(frames), (("q", "a"),), is_video=True)
    assert film.masks.shape == (2, 3, 2, 3)
    assert film.masks.any((2, 3)).tolist() == [[False, True, False], [False, False, True]]
    assert film.scores.tolist() == [[0, 0.5, 0.5], [0, 0, 0.5]]
    assert (film.text, len(film.segments)) == ("[SEG]", 1)  # of the first frame in which there is a slot
    still = Prediction((frames[2],), ())
    assert still.masks.shape == (2, 2, 3) and still.scores.tolist() == [0.5, 0.5]


def test_words_alone_have_no_mask_of_any_shape() -> None:
    words = FramePrediction(0, "It is red.", "not_asked", (4, 5))
    assert Prediction((words,), ()).masks.shape == (0, 4, 5)
    assert Prediction((words, words), (), is_video=True).masks.shape == (0, 2, 4, 5)
    assert Prediction((words,), ()).scores.shape == (0,)
    assert Prediction((words, words), (), is_video=True).scores.shape == (0, 2)
    with pytest.raises(FrozenInstanceError):
        words.text = "no"  # type: ignore[misc]
