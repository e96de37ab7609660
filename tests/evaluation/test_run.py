"""A benchmark from pictures to scores and files, with a model that is told what to say."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from seglm.evaluation import offline
from seglm.evaluation.asking.evaluate import ask_everything, evaluate_asker
from seglm.evaluation.asking.predict import batches, predict, scored_frame
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.offline import score_folder
from seglm.evaluation.scores.files import read_mask, write_mask
from seglm.evaluation.scores.iou import count
from seglm.evaluation.scores.origin import Origin, read_origin, write_origin
from seglm.evaluation.scores.report import read_scores
from seglm.evaluation.scores.results import Scores
from seglm.evaluation.table import markdown, table
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.settings import Evaluate
from seglm.utils.types import Sample
from tests.evaluation.fakes import BENCHMARK, KINDS, FakeSource, near_the_truth, rectangle


@pytest.fixture
def recipe() -> Recipe:
    return replace(named("lisa_tiny"), evaluate=Evaluate(batch_size=3))


def scored(recipe: Recipe, folder: Path | None = None, count: int = 10) -> Scores:
    selection = BENCHMARK.select(FakeSource(count))
    return evaluate_asker(near_the_truth, BENCHMARK, selection, recipe, out_dir=folder)


def test_every_expression_is_scored_once_and_split_by_kind(recipe: Recipe) -> None:
    scores = scored(recipe)
    assert scores.all.n == 20
    assert {kind: score.n for kind, score in scores.kinds.items()} == dict.fromkeys(KINDS, 10)
    assert scores.all.num_empty == 2 and scores.kinds["attribute"].n_acc is None
    assert scores.all.emission is not None and 0.5 < scores.all.emission < 1
    assert 0.3 < scores.all.giou < 0.95


@pytest.mark.parametrize("size", [2, 3, 7])
def test_shares_are_disjoint_complete_and_meet_the_same_neighbours(size: int) -> None:
    every = batches(11, 2)
    shares = [every[rank::size] for rank in range(size)]
    assert sorted(number for share in shares for batch in share for number in batch) == list(range(11))
    assert all(batch in every for share in shares for batch in share)


def test_the_score_is_printed_with_its_convention(recipe: Recipe) -> None:
    text = str(scored(recipe))
    assert "fake|val, protocol generate" in text
    assert "LISA's gIoU/cIoU" in text and "one expression a target" in text and "[SEG] rate" in text


def test_a_score_on_training_data_says_so_wherever_it_stands(recipe: Recipe, tmp_path: Path) -> None:
    why = "the manifest lists it"
    scores = replace(scored(recipe), leak=why)
    assert f"LEAK: {why}; this is no validation score." in str(scores) and "LEAK" not in str(scored(recipe))
    (tmp_path / "scores.json").write_text(json.dumps(asdict(scores)))
    assert read_scores(tmp_path) == scores
    side_by_side = markdown(table({"seen": scores, "unseen": scored(recipe)}, title="t"))
    assert f"LEAK: seen: {why}." in side_by_side


def test_files_tell_the_same_story_as_the_scores(recipe: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "a folder with spaces"
    scores = scored(recipe, folder)
    assert read_scores(folder) == scores
    assert (folder / "scores.md").read_text().startswith("### fake|val")
    with (folder / "samples.csv").open(newline="") as stream:
        lines = csv.DictReader(stream)
        rows = list(lines)
    assert lines.fieldnames is not None and len(set(lines.fieldnames)) == len(lines.fieldnames)
    assert {row["target"] for row in rows} == {"0", "1"} and int(rows[0]["target_pixels"]) > 1
    assert len(rows) == 20 and rows[0]["text"] == "thing 0 of picture 0"
    assert sum(int(row["intersection"]) for row in rows) / sum(
        int(row["union"]) for row in rows
    ) == pytest.approx(scores.all.ciou)
    for row in rows:
        mask = read_mask(folder / "masks" / row["file"])
        assert int(mask.sum()) >= int(row["predicted_pixels"])  # the file keeps what the metric ignores
        assert (row["status"] == "no_seg_token") == (row["slots"] == "0")
        assert not mask.any() or row["status"] == "ok"
    sheet = cv2.imread(str(folder / "worst_and_best.png"))
    assert sheet is not None and sheet.shape[0] > 12 * 200


def test_of_a_long_sample_only_the_frame_that_is_scored_is_decoded() -> None:
    sample = replace(BENCHMARK.select(FakeSource(1)).sample(0), num_frames=30)
    decoded: list[Sequence[int]] = []

    def masks(frames: Sequence[int]) -> NDArray[np.bool_]:
        decoded.append(frames)
        return sample.targets[0].masks(frames)

    noted = replace(sample, targets=(replace(sample.targets[0], masks=masks),))
    picture, true, ignore = scored_frame(noted, 0)
    assert decoded == [(0,)] and picture.shape == (*true.shape, 3) and ignore is not None


def test_predictions_scored_later_give_the_same_numbers(recipe: Recipe, tmp_path: Path) -> None:
    scores = scored(recipe, tmp_path / "now")
    selection = BENCHMARK.select(FakeSource(10))
    later = score_folder(tmp_path / "now", selection, BENCHMARK, out_dir=tmp_path / "later")
    assert later == scores
    assert (tmp_path / "later" / "samples.csv").read_bytes() == (
        tmp_path / "now" / "samples.csv"
    ).read_bytes()
    assert (tmp_path / "later" / "worst_and_best.png").exists()


def test_a_part_of_what_was_asked_is_scored_and_shown_as_if_it_had_been_asked_alone(
    recipe: Recipe, tmp_path: Path
) -> None:
    scored(recipe, tmp_path / "now")
    part = replace(BENCHMARK, keep=lambda sample: int(sample.key[-1]) > 6)
    selection = part.select(FakeSource(10))
    alone = evaluate_asker(near_the_truth, part, selection, recipe, out_dir=tmp_path / "alone")
    assert score_folder(tmp_path / "now", selection, part, out_dir=tmp_path / "later") == alone
    lines = [
        [{**row, "file": ""} for row in csv.DictReader((tmp_path / name / "samples.csv").open(newline=""))]
        for name in ("alone", "later")
    ]
    assert lines[0] == lines[1] and len(lines[0]) == 6
    sheets = [(tmp_path / name / "worst_and_best.png").read_bytes() for name in ("alone", "later")]
    assert sheets[0] == sheets[1]


ORIGINS = Origin(
    "runs/b/merged",
    {"weights": {"model.safetensors": [7, 1]}, "protocol": "forced"},
    leak="it was trained on it",
)


def test_what_is_scored_later_is_still_forced_and_training_data_and_of_these_weights(
    recipe: Recipe, tmp_path: Path
) -> None:
    selection, ours = BENCHMARK.select(FakeSource(3)), tmp_path / "ours"
    ask_everything(near_the_truth, selection, recipe, out_dir=ours, origin=ORIGINS)
    scores = score_folder(ours, selection, BENCHMARK, out_dir=tmp_path / "out")
    now = evaluate_asker(
        near_the_truth, BENCHMARK, selection, recipe, protocol="forced", out_dir=ours, origin=ORIGINS
    )
    assert scores == now == read_scores(tmp_path / "out")
    assert scores.protocol == "forced" and scores.all.emission is None
    told = (tmp_path / "out/scores.md").read_text()
    for line in ("protocol forced", "LEAK: it was trained on it; this is", "Weights: runs/b/merged, files "):
        assert line in told
    other = replace(scores, fingerprint={"model.safetensors": [7, 2]})
    assert str(other) != str(scores), "other files of the same name are seen to be others"
    with pytest.raises(
        ValueError, match=r"--protocol generate: the answers in .* are forced, says origin\.json"
    ):
        score_folder(ours, selection, BENCHMARK, out_dir=tmp_path / "out", protocol="generate")
    target = selection.sample(0).targets[0]
    write_mask(ours / "masks" / f"{target.key}.png", target.masks([0])[0])
    foreign = score_folder(
        ours / "masks", selection, BENCHMARK, out_dir=tmp_path / "out", missing_is_empty=True
    )
    assert foreign.protocol == "foreign" and foreign.leak, "its masks alone are no others"


def test_an_origin_is_removed_with_its_answers_and_one_that_is_damaged_is_named(
    recipe: Recipe, tmp_path: Path
) -> None:
    write_origin(tmp_path, ORIGINS)
    assert read_origin(tmp_path) == ORIGINS
    scored(recipe, tmp_path)  # by nobody knows whom
    assert read_origin(tmp_path) is None
    for damaged in ("[]", "{}", '{"weights": "", "about": {"weights": {}, "protocol": "x"}}', "{"):
        (tmp_path / "origin.json").write_text(damaged)
        with pytest.raises(ValueError, match=rf"^{tmp_path / 'origin.json'}: .*"):
            read_origin(tmp_path)


def test_masks_of_another_program_are_scored_by_their_names(recipe: Recipe, tmp_path: Path) -> None:
    selection = BENCHMARK.select(FakeSource(2))
    for number in range(2):
        for target in selection.sample(number).targets:
            # an ending in capitals, too
            write_mask(tmp_path / f"{target.key}.{'png' if number else 'PNG'}", target.masks([0])[0])
    assert score_folder(tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out").all.giou == pytest.approx(
        1, abs=1e-4
    )
    (tmp_path / "11.png").unlink()
    with pytest.raises(
        ValueError,
        match=r"no prediction for 1 of 4 expressions, first ReasonSeg\|val/001 11.*--missing empty",
    ):
        score_folder(tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out")
    less = score_folder(tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out", missing_is_empty=True)
    assert less.all.giou == pytest.approx(0.75, abs=1e-4)
    told = "1 of 4 expressions had no prediction and count as empty masks: ReasonSeg|val/001 11"
    assert told == less.missing == read_scores(tmp_path / "out").missing
    assert told in str(less) and told in (tmp_path / "out/scores.md").read_text()


class Counted(FakeSource):
    """Targets are counted anew in each picture, so that their keys say nothing of it."""

    def __init__(self, count: int, *, of_each: int = 1, picture: str = "{index}.jpg") -> None:
        super().__init__(count)
        self.of_each, self.picture = of_each, picture

    def sample(self, index: int) -> Sample:
        sample = super().sample(index)
        targets = [replace(one, key=str(number)) for number, one in enumerate(sample.targets[: self.of_each])]
        return replace(sample, targets=tuple(targets), path=self.picture.format(index=index))


def write_truths(folder: Path, selection: Selection) -> None:
    """The first target's of each picture, called by its number."""
    for number in range(len(selection)):
        write_mask(folder / f"{number}.png", selection.sample(number).targets[0].masks([0])[0])


def test_what_is_called_like_a_picture_is_the_picture_s_where_keys_are_no_ids(tmp_path: Path) -> None:
    selection = BENCHMARK.select(Counted(3))
    write_truths(tmp_path, selection)
    scores = score_folder(tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out")
    assert scores.all.giou == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "source, told",
    [
        (Counted(3, picture="0.jpg"), r"3 expressions, about .*/000 and .*/001 and others;"),
        (Counted(2, of_each=2, picture="p{index}.jpg"), r"2 expressions, about .*/000 and .*/001;"),
    ],
    ids=["a picture in several entries", "keys that repeat"],
)
def test_a_mask_that_could_be_of_several_expressions_is_refused(
    source: Counted, told: str, tmp_path: Path
) -> None:
    selection = BENCHMARK.select(source)
    write_truths(tmp_path, selection)
    with pytest.raises(ValueError, match=rf"0\.png could be the mask of {told} .*predictions\.csv"):
        score_folder(tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out", missing_is_empty=True)


def test_of_another_programs_masks_nothing_is_claimed_that_only_a_model_could_say(
    recipe: Recipe, tmp_path: Path
) -> None:
    selection = BENCHMARK.select(FakeSource(1))
    for target in selection.sample(0).targets:
        write_mask(tmp_path / f"{target.key}.png", target.masks([0])[0])
    scores = score_folder(tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out")
    assert scores.all.emission is None and scores.protocol == "foreign"
    assert str(scores).startswith("### fake|val, masks of another program\n")
    assert "| - |" in str(scores) and read_scores(tmp_path / "out") == scores
    with pytest.raises(
        ValueError, match=r"--protocol forced: .* has no predictions\.csv.*leave the flag out"
    ):
        score_folder(tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out", protocol="forced")


def test_a_folder_without_a_mask_is_said_to_hold_none(tmp_path: Path) -> None:
    selection = BENCHMARK.select(FakeSource(1))
    (tmp_path / "notes.txt").touch()
    for missing_is_empty in (False, True):
        with pytest.raises(
            ValueError, match=r"holds no PNG and no predictions\.csv; expected is a folder of PNGs"
        ):
            score_folder(
                tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out", missing_is_empty=missing_is_empty
            )
    write_mask(tmp_path / "other.png", np.zeros((5, 5), dtype=np.bool_))
    for missing_is_empty in (False, True):
        with pytest.raises(
            ValueError, match=r"2 of 2 expressions, first .* \(looked for: 0\.png\); are these predictions of"
        ):
            score_folder(
                tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out", missing_is_empty=missing_is_empty
            )
    assert not (tmp_path / "out").exists()


def test_a_report_goes_to_no_folder_of_another_program_and_replaces_none_unasked(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(offline, "benchmark", lambda _: BENCHMARK)
    selection = BENCHMARK.select(FakeSource(1))
    monkeypatch.setattr(type(BENCHMARK), "open", lambda *_: selection)
    (tmp_path / "masks").mkdir()
    for target in selection.sample(0).targets:
        write_mask(tmp_path / "masks" / f"{target.key}.png", target.masks([0])[0])
    before = sorted((tmp_path / "masks").iterdir())
    scored(recipe, tmp_path / "ours")
    (tmp_path / "ours/scores.json").unlink()
    for name, place in (("masks", "runs/eval/masks_fake_val"), ("ours", "ours")):
        flags = ["--predictions", name, "--dataset_dir", ".", "--val_dataset", "fake|val"]
        offline.main(flags)
        assert (tmp_path / place / "scores.json").exists()
        with pytest.raises(SystemExit, match=r"error: .*scores\.json is there already; pass --overwrite"):
            offline.main(flags)
        offline.main([*flags, "--overwrite"])
    assert sorted((tmp_path / "masks").iterdir()) == before


def test_a_mask_of_another_size_is_an_error_that_names_it(tmp_path: Path) -> None:
    selection = BENCHMARK.select(FakeSource(1))
    for target in selection.sample(0).targets:
        write_mask(tmp_path / f"{target.key}.png", np.zeros((5, 5), dtype=np.bool_))
    with pytest.raises(ValueError, match=r"0\.png is a mask of \(5, 5\) for a picture of \(24, 32\)"):
        score_folder(tmp_path, selection, BENCHMARK, out_dir=tmp_path / "out")


def test_masks_survive_the_disk_and_jpegs_are_refused(tmp_path: Path) -> None:
    mask = rectangle(3, 4)
    write_mask(tmp_path / "a.png", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), mask)
    stored = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(stored)) == {0, 255}
    cv2.imwrite(str(tmp_path / "b.jpg"), mask.astype(np.uint8) * 100)
    with pytest.raises(ValueError, match="no PNG.*save 0 and 255 as"):
        read_mask(tmp_path / "b.jpg")


def test_a_sample_without_a_question_is_an_error_that_names_it(recipe: Recipe) -> None:
    class Silent(FakeSource):
        def sample(self, index: int) -> object:  # type: ignore[override]
            return replace(super().sample(index), targets=())

    with pytest.raises(ValueError, match=r"ReasonSeg\|val/000: nothing is asked"):
        predict(near_the_truth, BENCHMARK.select(Silent(1)), recipe, batches(1, 1))


def test_forced_answers_have_no_emission_rate(recipe: Recipe, tmp_path: Path) -> None:
    selection = BENCHMARK.select(FakeSource(3))
    scores = evaluate_asker(near_the_truth, BENCHMARK, selection, recipe, protocol="forced", out_dir=tmp_path)
    assert scores.all.emission is None
    assert json.loads((tmp_path / "scores.json").read_text())["protocol"] == "forced"
    assert count(rectangle(0, 0), rectangle(0, 0)).iou == 1
