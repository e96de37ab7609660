"""Key frames: what a selector learns from, which it chooses, the file of them, and the walks that set out from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import chat
from seglm.evaluation.asking import question
from seglm.evaluation.asking.ask import Asker, asker
from seglm.evaluation.keyframes.choose import best_of, check_selector, choose
from seglm.evaluation.keyframes.file import KeyFrames, read_key_frames, video_called, write_key_frames
from seglm.evaluation.keyframes.outwards import asking_from, check_outwards, from_key_frames, walk_from
from seglm.evaluation.keyframes.targets import rows_of
from seglm.evaluation.propagate.anchors import asking_anchors
from seglm.evaluation.propagate.answers import Propagation
from seglm.evaluation.propagate.choice import add_flags, check_flags
from seglm.evaluation.propagate.choice import named as folder_named
from seglm.evaluation.scores.video_predictions import write_frame
from seglm.model.recipes import recipe as named
from seglm.preflight import overfit
from seglm.utils.answers import Drawn
from seglm.utils.flags import Parser
from seglm.utils.types import Sample, Target, Window
from tests.evaluation.fakes import HEIGHT, WIDTH, answered, rectangle
from tests.evaluation.films import FRAMES, KNOWN, NAMES, VIDEO, VIDEOS, Films, place
from tests.evaluation.test_glus import LONG, model_of, writing
from tests.evaluation.test_propagate import Rolling
from tests.model.test_score import FILM, selector
from tests.tiny import tiny_model

FILMED = replace(
    LONG,
    key="films|val/long",
    frame_names=tuple(f"{5 * number:05d}" for number in range(LONG.num_frames)),
    targets=tuple(replace(target, key=str(number)) for number, target in enumerate(LONG.targets)),
)


def keys_of(**frames: str) -> KeyFrames:
    return KeyFrames(Path("keys.json"), frames)


# ---- IoUs --------------------------------------------------------------------------------------------------------------
def drawn_as(table: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([[mark == "#" for mark in row] for row in table])


CLIP = [  # truth, what was drawn, IoU
    (("##..", "##.."), ("##..", "##.."), 1.0),
    (("##..", "##.."), (".##.", ".##."), 2 / 6),
    (("####", "...."), ("#...", "#..."), 1 / 5),
    (("#...", "...."), ("....", "...."), 0.0),
    (("....", "...."), ("....", "...."), 1.0),
    (("....", "...."), ("...#", "...."), 0.0),
]


class OneClip(Films):
    """One film of two rows, whose expression is CLIP."""

    def __len__(self) -> int:
        return 1

    def sample(self, index: int) -> Sample:
        picture = np.zeros((2, 4, 3), np.uint8)
        truth = [drawn_as(true) for true, _, _ in CLIP]
        target = Target(("it",), masks=lambda frames: np.stack([truth[frame] for frame in frames]), key="7")
        names = tuple(f"{frame:05d}" for frame in range(len(CLIP)))
        return Sample("films|val/a", (2, 4), lambda _: picture, len(CLIP), (target,), frame_names=names)


def test_what_is_learnt_is_the_iou_of_every_frame(tmp_path: Path) -> None:
    selection = VIDEO.select(OneClip())
    sample = selection.sample(0)
    for frame, (_, drawn, _) in enumerate(CLIP):
        write_frame(tmp_path, sample, sample.targets[0], frame, drawn_as(drawn))
    [(video, expression, row)] = rows_of(tmp_path, selection)
    assert (video, expression) == ("films|val/a", "7")
    assert row == pytest.approx([iou for _, _, iou in CLIP])


def test_a_frame_without_a_truth_has_none_and_a_missing_expression_is_named(tmp_path: Path) -> None:
    selection = VIDEO.select(Films())
    for number in range(VIDEOS):
        sample = selection.sample(number)
        for position, target in enumerate(sample.targets):
            for frame in range(FRAMES):
                if (number, position) != (2, 1):
                    write_frame(tmp_path, sample, target, frame, place(number, position, frame))
    with pytest.raises(ValueError, match=r"no prediction for 1 of 9 expressions of films\|val: shelf/2/1"):
        list(rows_of(tmp_path, selection))
    for frame in range(FRAMES):
        sample = selection.sample(2)
        write_frame(tmp_path, sample, sample.targets[1], frame, np.roll(place(2, 1, frame), 5, axis=1))
    rows = {(video, expression): row for video, expression, row in rows_of(tmp_path, selection)}
    assert len(rows) == 9 and rows["films|val/shelf/0", "1"] == [1.0] * FRAMES
    assert rows["films|val/shelf/0", "0"] == [1.0 if frame in KNOWN else None for frame in range(FRAMES)]
    assert rows["films|val/shelf/2", "1"][0] == pytest.approx(5 / 15)  # of ten columns five are common


# ---- the file ----------------------------------------------------------------------------------------------------------
def test_key_frames_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    write_key_frames(path, [("a", "0", "00010"), ("b/c", "dog", "00000")])
    keys = read_key_frames(path)
    assert keys.frames == {"a_0": "00010", "b/c_dog": "00000"}
    assert keys.frame("a", "0", NAMES) == 1 and keys.frame("b/c", "dog", NAMES) == 0
    path.write_text(json.dumps({"a_0": 40, "a_1": "20"}))  # as GLUS may write them: numbers of files
    assert [read_key_frames(path).frame("a", name, NAMES) for name in "01"] == [4, 2]
    assert video_called(tmp_path / "new") == "new" and video_called(Path("x/clip.v2.mp4")) == "clip.v2"


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(
        FileNotFoundError, match=r"--keyframes .*keys\.json: there is no such file; python -m"
    ):
        read_key_frames(path)
    for content, told in (
        ([], "expected is"),
        ({"a_0": 0.5}, "'a_0' has 0.5"),
        ({"a_0": True}, "'a_0' has True"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=told):
            read_key_frames(path)
    with pytest.raises(ValueError, match="no key frame called 'a_1' among its 1"):
        keys_of(a_0="00010").frame("a", "1", NAMES)
    with pytest.raises(ValueError, match="'a_0' has frame '11', and the video has 5 frames, 00000 to 00040"):
        keys_of(a_0="11").frame("a", "0", NAMES)
    with pytest.raises(ValueError, match="would be called 'a_1_2', the second is '2' of video 'a_1'"):
        write_key_frames(path, [("a", "1_2", "0"), ("a_1", "2", "0")])


# ---- the choice --------------------------------------------------------------------------------------------------------
def test_the_key_frame_has_the_highest_number_the_first_of_equals() -> None:
    assert best_of([0.1, 0.7, 0.3, 0.7]) == 1
    model = selector()
    film = replace(FILM, frame_names=tuple("abcdef"))
    chosen = list(choose(model, film))
    assert [(one.video, one.expression) for one in chosen] == [("1", "0"), ("1", "1")]
    for one in chosen:
        assert len(one.scores) == 6 and one.scores[one.frame] == max(one.scores)
        assert one.name == "abcdef"[one.frame]
    check_selector(model)
    with pytest.raises(
        ValueError, match="recipe lisa_7b draws masks and scores no frame; give a trained glus_key"
    ):
        check_selector(tiny_model())
    with pytest.raises(ValueError, match="draws no mask"):
        question.predict_frames(model, FILM, "Segment the ring.")
    with pytest.raises(ValueError, match="draws no mask"):
        overfit(named("glus_tiny_key"))


# ---- walks -------------------------------------------------------------------------------------------------------------
def test_outwards_is_two_walks_with_one_context() -> None:
    glus = named("glus_s")
    assert glus.outwards is not None
    windows = list(glus.outwards(9, 3))
    context = (1, 3, 5, 7)
    assert [window.asked[0] for window in windows] == [3, 4, 5, 6, 7, 8, 3, 2, 1, 0]
    assert all(window.seen[:4] == context for window in windows)
    assert [window.seen[4:] for window in windows[4:8]] == [(4, 5, 6, 7), (5, 6, 7, 8), (3,), (3, 2)]
    assert [window.repeats for window in windows] == [0, 1, 2, 3, 3, 3, 0, 1, 2, 3]
    assert [number for number, window in enumerate(windows) if window.begins] == [0, 6]
    assert list(glus.outwards(9, 0)) == list(glus.walk(9))
    assert [window.asked for window in glus.outwards(9, 8)] == [
        (8,),
        *((frame,) for frame in range(8, -1, -1)),
    ]


def masks(ask: Asker, sample: Sample) -> dict[int, list[Tensor]]:
    found: dict[int, list[Tensor]] = {}
    for drawn in ask([sample]):
        assert drawn.frame not in found
        found[drawn.frame] = [mask for answer in drawn.answers for mask in answer.masks if mask is not None]
    return found


def from_frame(frame: int, sample: Sample = FILMED) -> Mapping[int, list[Tensor]]:
    model = model_of()
    walk = walk_from(model.recipe, frame, None)
    return masks(asker(model, protocol="generate", max_new_tokens=1, walk=walk), sample)


def test_from_the_first_frame_masks_are_those_of_a_walk_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    writing(model, frozenset(), monkeypatch)
    forwards = masks(asker(model, protocol="generate", max_new_tokens=1), FILMED)
    outwards = from_frame(0)
    assert list(outwards) == list(forwards) == list(range(9))
    for frame, wanted in forwards.items():
        assert len(wanted) == 2 and all(map(torch.equal, outwards[frame], wanted))


def test_a_video_that_runs_backwards_has_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    writing(model_of(), frozenset(), monkeypatch)
    shown = [0, 1, 2, 3, 4, 3, 6, 1, 8]  # the context, frames 1, 3, 5 and 7, is the same either way
    there = replace(FILMED, frame=lambda number: LONG.frame(shown[number]))
    back = replace(FILMED, frame=lambda number: LONG.frame(shown[8 - number]))
    for key in (2, 8):
        forwards, backwards = from_frame(key, there), from_frame(8 - key, back)
        assert sorted(forwards) == sorted(backwards) == list(range(9))
        for frame, wanted in forwards.items():
            for one, other in zip(backwards[8 - frame], wanted, strict=True):
                torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    other = from_frame(0, there)
    assert not torch.allclose(
        other[5][0], from_frame(2, there)[5][0], atol=1e-3
    )  # it matters where it begins


def test_neither_walk_knows_what_the_other_drew(monkeypatch: pytest.MonkeyPatch) -> None:
    writing(model_of(), frozenset(), monkeypatch)
    whole = from_frame(4)
    later = replace(FILMED, frame=lambda number: LONG.frame(number if number <= 4 else number + 50))
    context = frozenset({1, 3, 5, 7})
    kept = replace(FILMED, frame=lambda number: (later if number not in context else FILMED).frame(number))
    changed = from_frame(4, kept)
    for frame in range(9):
        same = all(
            torch.allclose(one, other, atol=1e-3)
            for one, other in zip(whole[frame], changed[frame], strict=True)
        )
        assert same == (frame <= 5), frame  # 6 is another picture; 5, before it on its walk, is not


def test_each_expression_sets_out_from_its_own_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    writing(model, frozenset(), monkeypatch)
    ask_from = asking_from(model, None, protocol="generate", max_new_tokens=1)
    both = list(from_key_frames(ask_from, keys_of(long_0="00010", long_1="00035"))([FILMED]))
    assert sorted(one.frame for one in both) == list(range(9)) and all(len(one.answers) == 2 for one in both)
    for position, key in enumerate((2, 7)):
        alone = from_frame(key, replace(FILMED, targets=FILMED.targets[position : position + 1]))
        for one in both:
            [mask] = one.answers[position].masks
            assert mask is not None and torch.equal(mask > 0, alone[one.frame][0] > 0)
    together = list(from_key_frames(ask_from, keys_of(long_0="10", long_1="10"))([FILMED]))
    assert [one.frame for one in together] == [2, 3, 4, 5, 6, 7, 8, 1, 0]
    with pytest.raises(ValueError, match="no key frame called 'long_1'"):
        list(from_key_frames(ask_from, keys_of(long_0="10"))([FILMED]))


def test_what_waits_for_other_expressions_keeps_its_masks_and_words() -> None:
    def ask_from(key: int) -> Asker:
        def ask(samples: Sequence[Sample]) -> Iterator[Drawn]:
            [sample] = samples
            order = range(FRAMES) if key == 0 else reversed(range(FRAMES))
            for frame in order:
                answers = [
                    answered(rectangle(key, frame + int(target.key)), f"{key} {target.key}", slots=2)
                    if target.key != "2"
                    else answered(None)
                    for target in sample.targets
                ]
                yield Drawn(0, frame, tuple(answers))

        return ask

    keys = keys_of(**{"shelf/0_0": "0", "shelf/0_1": "00010", "shelf/0_2": "0"})
    found = list(from_key_frames(ask_from, keys)([Films().sample(0)]))
    assert [one.frame for one in found] == list(reversed(range(FRAMES)))  # as the last of the walks goes
    for one in found:
        for position, key in ((0, 0), (1, 1)):
            answer = one.answers[position]
            assert answer.spoken.text == f"{key} {position}" and answer.scores == (0.9, 0.9)
            for mask in answer.masks:
                assert mask is not None and mask.shape == (HEIGHT, WIDTH)
                np.testing.assert_array_equal((mask > 0).numpy(), rectangle(key, one.frame + position))
        assert one.answers[2].masks == () and one.answers[2].spoken.status == "no_seg_token"


# ---- propagation -------------------------------------------------------------------------------------------------------
def test_a_key_frame_is_all_that_is_drawn_where_its_mask_is_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    glus, lisa, sa2va = named("glus_s"), named("lisa_7b"), named("sa2va_4b")
    [window] = asking_anchors(glus, 4).walk(9)
    assert window == Window((1, 3, 5, 7, 4), (4,), begins=True)
    assert [window.asked for window in asking_anchors(lisa, 4).walk(9)] == [(4,)]
    assert list(asking_anchors(sa2va, 4).walk(9)) == list(sa2va.walk(9))
    model, carry = model_of(), Rolling()
    writing(model, frozenset(), monkeypatch)
    numbered = replace(FILMED, frame=lambda number: np.full((*FILMED.size, 3), number, np.uint8))
    ask_from = asking_from(model, Propagation(carry, "keyframe"), protocol="generate", max_new_tokens=1)
    found = list(from_key_frames(ask_from, keys_of(long_0="00020", long_1="00020"))([numbered]))
    assert [one.frame for one in found] == list(range(9)) and [list(given) for given in carry.given] == [[4]]
    anchor = found[4].answers[0].masks[0]
    assert anchor is not None
    for one in found:
        mask = one.answers[0].masks[0]
        assert mask is not None
        np.testing.assert_array_equal(
            (mask > 0).numpy(), np.roll((anchor > 0).numpy(), one.frame - 4, axis=1)
        )


def flags(*given: str) -> tuple[str, ...]:
    parser = Parser()
    add_flags(parser)
    read = parser.parse_args(given)
    check_flags(read)
    return (folder_named(read),)


def test_flags_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_key_frames(path, [("a", "0", "0")])
    keys, carry = ("--keyframes", str(path)), ("--propagate", "program true")
    assert flags(*keys) == ("_keyframes",)
    assert flags(*keys, *carry, "--anchors", "keyframe") == ("_program-keyframes",)
    assert flags(*carry, "--anchors", "keyframe") == ("_program-keyframe",)
    with pytest.raises(ValueError, match="give --anchors keyframe, not uniform"):
        flags(*keys, *carry)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        flags("--keyframes", str(tmp_path / "no.json"))
    with pytest.raises(ValueError, match="recipe lisa_7b does not draw outwards from a key frame, GLUS does"):
        check_outwards(named("lisa_7b"))


# ---- commands ----------------------------------------------------------------------------------------------------------
def test_chat_sets_out_from_the_key_frame_of_its_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    model = model_of()
    writing(model, frozenset(), monkeypatch)
    monkeypatch.setattr(chat, "_open", lambda given: model)
    (tmp_path / "clip").mkdir()
    for number in range(4):
        Image.fromarray(LONG.frame(number)).save(tmp_path / "clip" / f"{number:03d}.png")
    keys = tmp_path / "keys.json"
    write_key_frames(keys, [("clip", "Segment it.", "002")])
    asked: list[int] = []
    ask = question.ask

    def noted(*arguments: object, **settings: object) -> Iterator[Drawn]:
        for one in ask(*arguments, **settings):  # type: ignore[arg-type]
            asked.append(one.frame)
            yield one

    monkeypatch.setattr(question, "ask", noted)
    place = ["--video", str(tmp_path / "clip"), "--vis_save_path", str(tmp_path / "out")]
    chat.main([*place, "--prompt", "Segment it.", "--keyframes", str(keys)])
    assert asked == [2, 3, 1, 0]
    assert len(list((tmp_path / "out" / "clip_mask_0").glob("*.png"))) == 4
    monkeypatch.setattr(
        chat, "_open", lambda given: pytest.fail("a model is loaded for a question without a key frame")
    )
    with pytest.raises(SystemExit, match="no key frame called 'clip_Segment that.'"):
        chat.main([*place, "--prompt", "Segment that.", "--keyframes", str(keys)])
