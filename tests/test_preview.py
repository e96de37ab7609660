"""`python -m seglm.preview`: what it writes is what a run would train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm import preview
from seglm.dataset.toy.write import write as write_world
from seglm.model.recipes import recipe
from tests.tiny import tiny_encoder, tiny_example

ANSWERS = [("It is {}.", "Sure, {}."), ("{}", "A ring, {}!")]


def test_what_is_trained_is_the_answer_and_nothing_else() -> None:
    encoder, example = tiny_encoder(), tiny_example(ANSWERS[0], key="tiny/0")
    for branch, answer in zip(example.branches, ANSWERS[0], strict=True):
        text = answer.format("[SEG]")
        assert preview.trained_text(encoder, branch) == text
        said = preview.shown(encoder, branch)
        assert said.count("[[") == 1 and f"[[{text}]]" in said and "image tokens>" in said


def test_a_wrong_label_is_seen() -> None:
    """The page is made from the ids and labels themselves, so a shifted label shows."""
    encoder, example = tiny_encoder(), tiny_example(ANSWERS[0], key="tiny/0")
    branch = example.branches[0]
    branch.labels[:-1] = branch.labels[1:].copy()
    assert f"[[{ANSWERS[0][0].format('[SEG]')}]]" not in preview.shown(encoder, branch)


def test_the_sheet_has_the_question_too_without_the_template() -> None:
    encoder, example = tiny_encoder(), tiny_example(("It is {}.",), key="tiny/0")
    words = preview.question_and_answer(encoder, example.branches[0])
    assert words.endswith("[[It is [SEG].]]") and len(words) > len("[[It is [SEG].]]")
    assert words in preview.row(encoder, example).lines and "image tokens" not in words


def test_of_many_dialogues_the_sheet_has_as_many_as_fit_and_says_so() -> None:
    example = tiny_example(("{}", "It is {}.", "Sure, {}.", "A ring, {}!"))
    *said, more, sizes = preview.row(tiny_encoder(), example).lines
    assert len(said) == 2 and more == "... and 2 more in samples.txt" and sizes.count(",") == 3


@pytest.mark.parametrize(
    "frames, shown",
    [
        (1, [0]),
        (3, [0, 1, 2]),
        (10, [0, 3, 6, 9]),  # evenly, with both ends
    ],
)
def test_a_clip_is_a_strip_of_its_frames_each_with_its_own_masks(frames: int, shown: list[int]) -> None:
    example = tiny_example(("{}",))
    drawn = np.stack([np.full_like(example.drawn[0], frame) for frame in range(frames)])
    masks = np.zeros((1, frames, 40, 50), bool)
    for frame in range(frames):
        masks[0, frame, frame] = True  # row `frame` alone
    row = preview.row(tiny_encoder(), replace(example, drawn=drawn, masks=masks), panels=6)
    first, *strip = row.panels
    assert not first.layers and int(first.picture.max()) == 0
    assert [int(panel.picture.max()) for panel in strip[: len(shown)]] == shown
    height = drawn.shape[2]
    for frame, panel in zip(shown, strip, strict=False):
        rows = np.flatnonzero(panel.layers[0].mask.any(1)) * 40 // height
        assert set(rows) == {frame}
    assert all(panel.picture.min() == 255 and not panel.layers for panel in strip[len(shown) :])
    assert len(row.panels) == 6


def test_a_conversation_about_nothing_that_is_shown_has_its_words_on_the_sheet(tmp_path: Path) -> None:
    example = tiny_example(("{}",))
    nothing = np.zeros((0, 3, 1, 1), np.uint8)
    example = replace(example, drawn=nothing, masks=np.zeros((0, 0, 1, 1), bool))
    picture, _ = preview.write(tmp_path, [example], tiny_encoder(), title="words alone")
    assert picture.is_file() and len(preview.row(tiny_encoder(), example).panels) == 2


def test_families_that_a_run_draws_later_are_named() -> None:
    assert preview.joining(recipe("videolisa_tiny")) == ["vos", "refer_seg_video"]
    assert preview.joining(recipe("lisa_tiny")) == []


@pytest.mark.slow
def test_the_first_samples_of_the_toy_mixture_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, out = tmp_path / "toy", tmp_path / "out"
    write_world(world, images=120, val_images=4, test_images=4, seed=0)
    flags = ["--recipe", "lisa_tiny", "--dataset_dir", str(world), "--samples", "5", "--out", str(out)]
    assert preview.main([*flags, "engine.seed=1"]) == 0
    assert capsys.readouterr().out.split() == [str(out / "samples.png"), str(out / "samples.txt")]
    text = (out / "samples.txt").read_text(encoding="utf-8")
    assert text.count("== ") == 5 and "[[" in text and recipe("lisa_tiny").seg_token in text
    with Image.open(out / "samples.png") as sheet:
        assert sheet.height > 5 * 100
    assert preview.main([*flags, "data.joins.vqa=0.5"]) == 0
    assert "later: vqa; data.joins.vqa=0 shows them" in capsys.readouterr().out
