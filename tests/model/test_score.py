"""Numbers that are read at slots: what teaches them, where it stands, and what they are in a frame."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from seglm.dataset.collate import collate
from seglm.dataset.pipeline import clip, example
from seglm.evaluation.asking.ask import asker
from seglm.model.frame_ious import opened, write
from seglm.model.probe import sayings
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.released.checkpoint import Checkpoint
from seglm.model.score import Score, ScoreHead
from seglm.model.score_module import scores_of
from seglm.model.segmenter import Segmenter
from seglm.model.systems.glus_key import a_score_a_target, beside_the_context, context_and_one
from seglm.utils.batch import Batch
from seglm.utils.dist import World
from seglm.utils.types import Frames, Images, Slot
from tests.model.test_draw import VIDEO
from tests.tiny import tiny_model, tiny_recipe
from tests.tiny_sam2 import SAM2_0, SIDE

ROWS = (("0", [0.5, None, 1.0, 0.25, 0.0, 1.0]), ("1", [0.75, 0.5, 0.0, 0.0, 0.125, 1.0]))
FILM = replace(
    VIDEO, targets=tuple(replace(target, key=str(number)) for number, target in enumerate(VIDEO.targets))
)


def recipe_of(*places: Path) -> Recipe:
    base, selector = tiny_recipe(), named("glus_key")
    return replace(
        selector,
        backbone=replace(selector.backbone, pool="none"),  # type: ignore[call-arg]
        engine=base.engine,
        decoder=replace(selector.decoder, image_size=SIDE),
        trainable=replace(selector.trainable, lora=base.trainable.lora),
        terms=tuple(
            replace(term, targets=tuple(map(str, places))) if isinstance(term, Score) else term
            for term in selector.terms
        ),
    )


@cache
def selector(seed: int = 0) -> Segmenter:
    return tiny_model(recipe_of(), seed=seed, decoder=asdict(SAM2_0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(tmp_path / "a" / "ious.json", [(FILM.key, expression, row) for expression, row in ROWS])
    return tmp_path / "a" / "ious.json"


def batch_of(file: Path, frame: int, model: Segmenter) -> Batch:
    recipe = recipe_of(file)
    shown = clip(FILM, frames=Frames((*range(5), 0, 1, 2, frame), (frame,)))
    script = a_score_a_target(shown, np.random.default_rng(0), recipe)
    branches = model.encoder.encode_script(script, key=FILM.key, size=FILM.size)
    vision = model.backbone.vision_size
    return collate([example(shown, branches, script, vision_size=vision, decoder_size=SIDE, pixels="fast")])


# ---- what is said ------------------------------------------------------------------------------------------------------
def test_a_clip_is_eight_frames_from_all_over_and_any_one() -> None:
    scored = set()
    for seed in range(80):
        frames = context_and_one(16, np.random.default_rng(seed))
        assert all(2 * part <= frame < 2 * part + 2 for part, frame in enumerate(frames.seen[:8]))
        assert frames.seen[8:] == frames.drawn and len(frames.drawn) == 1
        scored.add(frames.drawn[0])
    assert scored == set(range(16))
    assert context_and_one(1, np.random.default_rng(0)) == Frames((0,) * 9, (0,))
    windows = list(beside_the_context(16))
    assert [window.seen for window in windows[:2]] == [(*range(1, 16, 2), 0), (*range(1, 16, 2), 1)]
    assert [window.asked for window in windows] == [(frame,) for frame in range(16)]


def test_a_slot_is_taught_the_iou_of_its_own_expression_and_frame(file: Path) -> None:
    model = selector()
    for frame in (0, 1, 4):
        shown = clip(FILM, frames=Frames((*range(6), 0, 1, frame), (frame,)))
        for number, dialogue in enumerate(a_score_a_target(shown, np.random.default_rng(0), recipe_of(file))):
            [turn] = dialogue.turns
            assert turn.question[0] == Images(tuple(range(8))) and turn.question[2] == Images((8,))
            assert "the ring" in str(turn.question[3]) if number == 0 else "the star" in str(turn.question[3])
            assert turn.answer == (Slot("[SCORE]", number, (), value=ROWS[number][1][frame]), ".")
        batch = batch_of(file, frame, model)
        wanted = [np.nan if row[frame] is None else row[frame] for _, row in ROWS]
        np.testing.assert_array_equal(batch.values.numpy(), np.array(wanted, np.float32))
        assert batch.jobs == () and model.counts(batch)["score"] == 2 - np.isnan(wanted).sum()


def test_what_it_says_can_be_kept_without_a_file() -> None:
    said = {
        name: bytes(words.tolist()).decode() for name, words in sayings(selector()).items() if "text" in name
    }
    assert said["training_text"].count("[SCORE].") == 2 and "[SCORE]" not in said["question_text"]


# ---- what is learnt ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("frame", [1, 4])
def test_the_loss_is_the_distance_of_the_numbers_and_its_gradient_their_side(file: Path, frame: int) -> None:
    model = selector().train()
    model.zero_grad()
    batch = batch_of(file, frame, model)
    output = model(batch)
    scores = scores_of(model.project, model.queries(model.slot_states(model.states(batch), batch)))  # type: ignore[arg-type]
    pairs = [(score, row[frame]) for score, (_, row) in zip(scores.tolist(), ROWS, strict=True)]
    known = [(score, iou) for score, iou in pairs if iou is not None]
    by_hand = sum(abs(score - iou) for score, iou in known)
    assert output.parts["score"].sum.item() == pytest.approx(by_hand, rel=1e-5) and len(known) == 1 + (
        frame == 4
    )
    output.parts["score"].sum.backward()
    assert model.project.score.bias.grad.item() == sum(1 if score > iou else -1 for score, iou in known)  # type: ignore[union-attr]
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None} >= {
        "project", "backbone",
    }  # fmt: skip
    assert not any(p.requires_grad for p in model.decoder.parameters())  # type: ignore[attr-defined]


def test_a_frame_without_a_number_teaches_none_and_leaves_no_weight_out(tmp_path: Path) -> None:
    path = tmp_path / "ious.json"
    write(path, [(FILM.key, expression, [None] * 6) for expression, _ in ROWS])
    model = selector().train()
    model.zero_grad()
    output = model(batch_of(path, 2, model))
    assert output.parts["score"].count == 0 and output.parts["score"].sum == 0
    output.loss.backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())


def test_steps_bring_the_numbers_to_the_ious(file: Path) -> None:
    model = tiny_model(recipe_of(), seed=1, decoder=asdict(SAM2_0)).train()
    batch = batch_of(file, 4, model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        output = model(batch)
        output.loss.backward()
        optimizer.step()
        losses.append(output.parts["score"].sum.item())
    assert min(losses) < 0.2 * losses[0]


# ---- what is read ------------------------------------------------------------------------------------------------------
def test_a_number_is_read_of_every_frame_as_it_is_in_training(file: Path) -> None:
    model = selector().eval()
    drawn = list(asker(model, protocol="forced", max_new_tokens=1)([FILM]))
    assert [one.frame for one in drawn] == list(range(6))
    for window, one in zip(model.recipe.walk(6), drawn, strict=True):
        shown = clip(FILM, frames=Frames(window.seen, window.asked))
        script = a_score_a_target(shown, np.random.default_rng(0), recipe_of(file))
        branches = model.encoder.encode_script(script, key=FILM.key, size=FILM.size)
        vision = model.backbone.vision_size
        batch = collate(
            [example(shown, branches, script, vision_size=vision, decoder_size=SIDE, pixels="fast")]
        )
        with torch.no_grad():
            scores = scores_of(model.project, model.queries(model.slot_states(model.states(batch), batch)))  # type: ignore[arg-type]
        got = [value for answer in one.answers for value in answer.spoken.values]
        assert got == pytest.approx(scores.tolist(), abs=1e-4)
        assert [answer.masks for answer in one.answers] == [(None,), (None,)]
    assert len({answer.spoken.values for one in drawn for answer in one.answers}) == 12


# ---- what is refused ---------------------------------------------------------------------------------------------------
def test_ious_come_back_from_their_file(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.json"
    assert write(other, [("mevis|train/x", "3", [0.123456])]) == 1
    ious = opened((str(file), str(other)))
    assert [[ious.of(FILM.key, expression, frame) for frame in range(6)] for expression, _ in ROWS] == [
        row for _, row in ROWS
    ]
    assert ious.of("mevis|train/x", "3", 0) == 0.1235


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], "this is no file of IoUs; expected is {video"),
        ({"a": [1]}, "this is no file of IoUs"),
        ({"a": {"0": 0.5}}, "a, expression '0': permitted are lists of numbers from 0 to 1, and null"),
        ({"a": {"0": [0.5, 1.5]}}, "permitted are lists of numbers from 0 to 1"),
        ({"a": {"0": [True]}}, "permitted are lists of numbers from 0 to 1"),
    ],
)
def test_a_file_of_another_form_is_named(content: object, told: str, tmp_path: Path) -> None:
    path = tmp_path / "ious.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"ious.json: .*{told}".replace("{", r"\{")):
        Score(1.0, targets=(str(path),)).look()


def test_what_is_not_in_a_file_is_named_with_the_next_step(file: Path, tmp_path: Path) -> None:
    ious = opened((str(file),))
    with pytest.raises(
        ValueError, match=r"no IoUs of other\|x/1, expression 0 \('a dog'\); there are 1 videos"
    ):
        ious.of("other|x/1", "0", 0, text="a dog")
    with pytest.raises(ValueError, match=r"expression 7; .* write the file anew"):
        ious.of(FILM.key, "7", 0)
    with pytest.raises(ValueError, match="has 6 frames there, and frame 6 is asked for"):
        ious.of(FILM.key, "0", 6)
    with pytest.raises(ValueError, match=r"video\|val/1 is in two of them"):
        opened((str(file), str(file)))
    with pytest.raises(FileNotFoundError, match=r"terms\.score\.targets=.*nowhere\.json: there is no file"):
        Score(1.0, targets=(str(tmp_path / "nowhere.json"),)).look()
    with pytest.raises(
        ValueError, match=r"terms\.score\.targets is empty.*evaluation\.keyframes --predictions"
    ):
        Score(1.0).look()
    with pytest.raises(ValueError, match="two expressions of v are called '0'"):
        write(tmp_path / "c.json", [("v", "0", [1.0]), ("v", "0", [0.5])])


def test_a_recipe_needs_what_the_number_is_read_by() -> None:
    lisa = named("lisa_7b")
    with pytest.raises(ValueError, match="recipe lisa_7b has project=TwoLayers and the tokens"):
        replace(lisa, terms=(*lisa.terms, Score(1.0))).check(World())
    with pytest.raises(ValueError, match=r"recipe glus_key scores frames by \[SCORE\] and draws no mask"):
        named("glus_key").check_draws()
    lisa.check_draws()


def test_the_projection_of_a_model_that_draws_is_left_out_and_a_score_is_kept() -> None:
    tensor = torch.zeros(1)
    drawing = Checkpoint("base", {"project.0.weight": tensor, "llm.norm.weight": tensor})
    assert list(ScoreHead().begin(drawing).tensors) == ["llm.norm.weight"]
    scoring = Checkpoint("trained", {"project.layers.0.weight": tensor, "project.score.weight": tensor})
    assert ScoreHead().begin(scoring) is scoring
