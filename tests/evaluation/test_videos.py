"""Benchmarks of videos: an expression is one result, in all frames that have a truth, whoever asks, in whatever order."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from seglm.dataset.description import Scored
from seglm.dataset.readers.refer import NO_TARGET
from seglm.evaluation.asking.ask import Asker
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.asking.parts import Parts
from seglm.evaluation.baselines import main as baselines
from seglm.evaluation.offline import main as offline
from seglm.evaluation.offline import score_folder
from seglm.evaluation.run import main as run
from seglm.evaluation.scores import expressions, revos
from seglm.evaluation.scores.expressions import Asked, Track
from seglm.evaluation.scores.files import read_said, write_said
from seglm.evaluation.scores.regions import count_frame
from seglm.evaluation.scores.report import read_scores
from seglm.evaluation.scores.results import CONVENTIONS, OF_VIDEOS, Result, Said, Scores, summarise
from seglm.evaluation.table import numbers
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.settings import Evaluate
from seglm.utils.answers import Answer, Drawn
from seglm.utils.types import Sample
from tests.evaluation.fakes import HEIGHT, WIDTH, answered, rectangle
from tests.evaluation.films import FRAMES, KNOWN, NAMES, VIDEO, VIDEOS, Films, place


def guess(video: int, position: int, frame: int) -> NDArray[np.bool_]:
    """What is answered: two pixels beside the truth; something drawn for nothing in the last video; nothing said in the second
    video about the second expression.
    """
    if position == 2:
        return rectangle(0, 0) if video == VIDEOS - 1 and frame == 1 else place(video, position, frame)
    return np.roll(place(video, position, frame), 2, axis=1)


def asker(order: Sequence[int] = range(FRAMES)) -> Asker:
    """Answers frame by frame in some order; with other words from the third frame on."""

    def ask(samples: Sequence[Sample]) -> Iterator[Drawn]:
        for frame in order:
            for number, sample in enumerate(samples):
                video = int(sample.key.rpartition("/")[2])
                yield Drawn(number, frame, tuple(say(video, position, frame) for position in range(3)))

    return ask


def say(video: int, position: int, frame: int) -> Answer:
    if (video, position) == (1, 1):
        return answered(None)
    return answered(guess(video, position, frame), "It is [SEG]." if frame < 3 else "Sure, [SEG].")


@pytest.fixture
def recipe() -> Recipe:
    return replace(named("lisa_tiny"), evaluate=Evaluate(batch_size=2))


def scored(recipe: Recipe, folder: Path | None = None, ask: Asker | None = None) -> Scores:
    return evaluate_asker(ask or asker(), VIDEO, VIDEO.select(Films()), recipe, out_dir=folder)


def by_hand() -> expressions.Score:
    asked, tracks = [], []
    for video in range(VIDEOS):
        for position in range(3):
            one = Asked(
                f"shelf/{video}", str(position), ("motion", "order", NO_TARGET)[position], position == 2
            )
            frames = KNOWN if position == 0 else range(FRAMES)
            empty = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
            shown = [empty if (video, position) == (1, 1) else guess(video, position, f) for f in frames]
            pairs = zip(shown, (place(video, position, frame) for frame in frames), strict=True)
            asked.append(one)
            tracks.append(expressions.track(one, (count_frame(*pair) for pair in pairs)))
    return expressions.score(tracks, asked)


def test_an_expression_is_scored_in_all_frames_that_have_a_truth(recipe: Recipe) -> None:
    scores = scored(recipe)
    expected = by_hand()
    assert scores.all == replace(expected, emission=8 / 9)
    assert expected.n_acc == 2 / 3 and expected.t_acc == 5 / 6 and 0.2 < expected.jf < 0.95
    assert {kind: score.n for kind, score in scores.kinds.items()} == {"motion": 3, "none": 3, "order": 3}
    assert "J&F | positives | J | F | [SEG] rate" in str(scores) and "MeViS' J&F" in str(scores)


def test_neither_the_order_of_frames_nor_the_batches_change_a_score(recipe: Recipe) -> None:
    expected = scored(recipe)
    for order in ([4, 3, 2, 1, 0], [2, 3, 4, 1, 0]):
        assert scored(recipe, ask=asker(order)) == expected
    assert scored(replace(recipe, evaluate=Evaluate(batch_size=3))) == expected


def test_masks_lie_by_video_expression_and_frame_and_score_the_same_again(
    recipe: Recipe, tmp_path: Path
) -> None:
    scores = scored(recipe, tmp_path)
    assert read_scores(tmp_path) == scores
    masks = sorted(
        path.relative_to(tmp_path / "masks").as_posix() for path in tmp_path.glob("masks/**/*.png")
    )
    assert masks == sorted(
        f"shelf/{video}/{position}/{name}.png"
        for video in range(VIDEOS)
        for position in range(3)
        for name in NAMES
    )
    selection = VIDEO.select(Films())
    assert score_folder(tmp_path, selection, VIDEO, out_dir=tmp_path / "again") == scores
    # As another program leaves them: masks alone, so that nothing is known of what was said.
    foreign = score_folder(tmp_path / "masks", selection, VIDEO, out_dir=tmp_path / "foreign")
    assert replace(foreign.all, emission=scores.all.emission) == scores.all
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "Annotations").symlink_to(tmp_path / "masks")
    assert score_folder(tmp_path / "linked", selection, VIDEO, out_dir=tmp_path / "linked") == foreign
    with (tmp_path / "samples.csv").open(encoding="utf-8") as stream:
        first = next(csv.DictReader(stream))
    assert first["num_frames"] == "3" and float(first["jf"]) == pytest.approx(
        (float(first["j"]) + float(first["f"])) / 2, abs=1e-6
    )


def test_a_part_of_the_videos_that_were_asked_about_is_scored_as_if_it_had_been_asked_alone(
    recipe: Recipe, tmp_path: Path
) -> None:
    scored(recipe, tmp_path)
    part = replace(VIDEO, keep=lambda sample: not sample.key.endswith("0"))
    selection = part.select(Films())
    alone = evaluate_asker(asker(), part, selection, recipe, out_dir=tmp_path / "alone")
    assert score_folder(tmp_path, selection, part, out_dir=tmp_path / "later") == alone
    for name in ("samples.csv", "worst_and_best.png"):
        assert (tmp_path / "later" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_what_is_said_of_frames_is_kept_once(recipe: Recipe, tmp_path: Path) -> None:
    scored(recipe, tmp_path)
    lines = {(line.sample, line.target): line for line in read_said(tmp_path / "predictions.csv")}
    assert lines[0, 0].answer == "It is [SEG]. | Sure, [SEG]."
    assert lines[0, 0].slots == 1 and lines[0, 0].confidence == pytest.approx(0.9)
    assert lines[1, 1].status == "no_seg_token" and lines[1, 1].rejected and lines[1, 1].confidence is None
    assert lines[0, 2].rejected and not lines[2, 2].rejected  # drawn in one frame of five
    write_said(tmp_path / "predictions.csv", [*lines.values(), replace(lines[0, 0], answer="No.")])
    with pytest.raises(ValueError, match="predictions.csv: two lines are about shelf/0/0; keep one of them"):
        score_folder(tmp_path, VIDEO.select(Films()), VIDEO, out_dir=tmp_path / "again")


def test_a_missing_prediction_stops_or_counts_as_the_convention_says(recipe: Recipe, tmp_path: Path) -> None:
    whole = scored(recipe, tmp_path)
    shutil.rmtree(tmp_path / "masks/shelf/1")
    selection = VIDEO.select(Films())
    with pytest.raises(
        ValueError, match=r"no prediction for 3 of 9 expressions of films\|val: shelf/1/0, .*--missing empty"
    ):
        score_folder(tmp_path, selection, VIDEO, out_dir=tmp_path)
    every, found = (
        score_folder(
            tmp_path, selection, VIDEO, out_dir=tmp_path, missing_is_empty=True, convention=convention
        )
        for convention in ("every", "found")
    )
    assert (every.all.n, found.all.n) == (9, 6)
    assert isinstance(every.all, expressions.Score) and isinstance(found.all, expressions.Score)
    assert every.all.missing == found.all.missing == ("shelf/1/0", "shelf/1/1", "shelf/1/2")
    assert every.all.jf < found.all.jf and every.all.jf == pytest.approx(found.all.jf * 6 / 9)
    names = "shelf/1/0, shelf/1/1, shelf/1/2"
    assert every.missing == f"3 of 9 expressions had no prediction and score 0: {names}"
    assert found.missing == f"3 of 9 expressions had no prediction and are left out: {names}"
    assert every.missing in str(every) and whole.missing == ""
    shutil.rmtree(tmp_path / "masks")
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="no prediction for 9 of 9 expressions .* are these predictions of"):
        score_folder(tmp_path, selection, VIDEO, out_dir=tmp_path, missing_is_empty=True)


def test_one_frame_less_is_no_missing_prediction(recipe: Recipe, tmp_path: Path) -> None:
    scored(recipe, tmp_path)
    (tmp_path / "masks/shelf/0/1/00020.png").unlink()
    with pytest.raises(FileNotFoundError, match="no shelf/0/1/00020.png; 4 of 5 scored frames"):
        score_folder(tmp_path, VIDEO.select(Films()), VIDEO, out_dir=tmp_path)


def test_a_killed_one_goes_on_behind_its_finished_batches(recipe: Recipe, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    calls: list[int] = []

    def dies(samples: Sequence[Sample]) -> Iterator[Drawn]:
        calls.append(len(samples))
        for number, drawn in enumerate(asker()(samples)):
            if len(calls) == 2 and number == 2:
                raise Killed
            yield drawn

    def evaluate(folder: Path, ask: Asker) -> Scores:
        parts = Parts(folder / "parts")
        parts.begin({"weights": "a"}, overwrite=False)
        scores = evaluate_asker(ask, VIDEO, VIDEO.select(Films()), recipe, out_dir=folder, parts=parts)
        parts.remove()
        return scores

    with pytest.raises(Killed):
        evaluate(tmp_path / "killed", dies)
    assert evaluate(tmp_path / "killed", dies) == evaluate(tmp_path / "straight", asker())
    assert calls == [2, 1, 1]
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "killed", tmp_path / "straight")
    ]
    assert files[0] == files[1]


def test_the_sheet_shows_frames_over_time(recipe: Recipe, tmp_path: Path) -> None:
    scored(recipe, tmp_path)
    sheet = cv2.imread(str(tmp_path / "worst_and_best.png"))
    assert sheet is not None and sheet.shape[1] > 6 * 200


def test_a_table_of_videos_begins_with_j_and_f(recipe: Recipe) -> None:
    names = list(numbers(scored(recipe)))
    assert names == ["J&F", "positives", "motion", "none", "order", "J", "F", "[SEG] rate", "N-acc", "T-acc"]


def test_revos_is_the_mean_of_its_types_and_knows_no_other_kind(recipe: Recipe) -> None:
    asked = [Asked("v", str(number), kind) for number, kind in enumerate(revos.KINDS)]
    right, half = (np.ones((4, 4), dtype=np.bool_), np.eye(4, dtype=np.bool_))
    tracks = [
        expressions.track(one, [count_frame(mask, right)])
        for one, mask in zip(asked, (right, half, half), strict=True)
    ]
    got = revos.overall(tracks, asked)
    assert got.jf == pytest.approx((tracks[0].jf + round(tracks[1].j, 4) / 2 + round(tracks[1].f, 4) / 2) / 2)
    chosen = replace(VIDEO, scored=Scored(conventions=("revos",)))
    with pytest.raises(
        ValueError, match="is of the kind 'motion'; its benchmark has referring, reasoning, none"
    ):
        evaluate_asker(asker(), chosen, chosen.select(Films()), recipe)


def test_every_convention_is_of_pictures_or_of_videos() -> None:
    assert set(OF_VIDEOS) < set(CONVENTIONS)
    assert benchmark("mevis|valid_u").is_of_videos and not benchmark("ReasonSeg|val").is_of_videos
    assert revos.NOT_THERE == NO_TARGET


def test_ref_sav_is_the_mean_of_long_and_short_expressions_whatever_their_numbers() -> None:
    """Long: 0.8 and 0.4, short: 0.2 alone; J&F is (0.6 + 0.2) / 2."""
    asked = [Asked("v", str(number), kind) for number, kind in enumerate(("long", "long", "short"))]
    tracks = [Track(one, value, value, 3, True) for one, value in zip(asked, (0.8, 0.4, 0.2), strict=True)]
    assert revos.overall(tracks, asked, types=("long", "short")).jf == pytest.approx(0.4)
    results = [
        Result(Said(0, number, "v", one.asked.name, one.asked.kind, "t", "", "ok", 1, None, False, "f"), one)
        for number, one in enumerate(tracks)
    ]
    found = summarise(results, benchmark="b", protocol="forced", convention="ref_sav", rule="r")
    assert found.all.jf == pytest.approx(0.4) and found.kinds["long"].jf == pytest.approx(0.6)
    with pytest.raises(ValueError, match="of the kind 'motion'; its benchmark has long, short, none"):
        revos.overall([], [Asked("v", "0", "motion")], types=("long", "short"))


def test_a_split_that_only_a_server_scores_is_asked_but_not_scored(tmp_path: Path) -> None:
    benchmark("mevis|valid_u").check_truth()
    line = ["--version", str(tmp_path), "--dataset_dir", str(tmp_path), "--val_dataset", "mevis|valid"]
    told = r"only the benchmark's server knows its truth.*--inference_only"
    with pytest.raises(SystemExit, match=told):
        run(line)
    with pytest.raises(SystemExit, match=told):
        offline(["--predictions", *line[1:]])
    with pytest.raises(SystemExit, match=told):
        baselines(["--dataset_dir", str(tmp_path), "--dataset", "mevis|valid"])


def test_a_split_without_truth_is_no_zero(recipe: Recipe) -> None:
    class Blind(Films):
        def sample(self, index: int) -> Sample:
            sample = super().sample(index)
            return replace(sample, targets=tuple(replace(one, known_frames=()) for one in sample.targets))

    with pytest.raises(ValueError, match="no frame of shelf/0/0 has a truth, and of 8 further"):
        evaluate_asker(asker(), VIDEO, VIDEO.select(Blind()), recipe)
