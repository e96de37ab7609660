"""Scores in the benchmarks' own protocols, from files: the truth has 100, less has less, and bad files are named."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seglm.evaluation.asking.annotators import check_official
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.offline import score_folder
from seglm.evaluation.scores import expressions
from seglm.evaluation.scores.files import MASKS
from seglm.evaluation.scores.origin import Origin, write_origin
from seglm.evaluation.scores.ref_davis17 import by_annotator
from seglm.evaluation.scores.report import read_scores
from seglm.evaluation.submit.__main__ import main
from seglm.model.recipes import recipe as named
from seglm.utils.answers import Drawn
from seglm.utils.types import Sample, Target
from tests.evaluation.fakes import answered
from tests.evaluation.truths import toy_videos, write_truth

SPECS = (
    "mevis|valid_u",
    "ref_youtube_vos|train",
    "ref_davis17|valid",
    "revos|valid",
    "reasonvos|test",
    "lvvis|val",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_videos(tmp_path_factory.mktemp("toy") / "videos")


@pytest.fixture(scope="module")
def truths(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("truths")
    return {spec: write_truth(root, spec, folder / str(number)) for number, spec in enumerate(SPECS)}


Print = Callable[..., str]


@pytest.fixture
def told(root: Path, capsys: pytest.CaptureFixture[str]) -> Print:
    """What the command prints."""

    def run(spec: str, *arguments: str | Path) -> str:
        capsys.readouterr()
        main(["--truth", str(root), "--benchmark", spec, *map(str, arguments)])
        return capsys.readouterr().out

    return run


def numbers(table: str, row: str) -> list[float]:
    [line] = [line for line in table.splitlines() if line.startswith(f"| {row} |")]
    return [float(cell) for cell in line.strip("| ").split(" | ")[1:] if cell != "-"]


@pytest.mark.parametrize("spec", ["mevis|valid_u", "ref_youtube_vos|train", "reasonvos|test"])
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_the_truth_of_expressions_has_one(
    spec: str, form: str, told: Print, truths: dict[str, Path], tmp_path: Path
) -> None:
    place = truths[spec]
    if form == "zip":
        place = Path(shutil.make_archive(str(tmp_path / "a"), "zip", place / MASKS))
    table = told(spec, "--predictions", place, "--score")
    n, *values = numbers(table, "all")
    assert n > 1 and set(values) == {1.0}
    # Nothing is known of what a model of another program said.
    assert "masks of another program" in table and "| - |" in table


@pytest.mark.parametrize("spec", ["mevis|valid_u", "ref_davis17|valid", "revos|valid"])
def test_processes_that_share_the_videos_print_what_one_prints(
    spec: str, told: Print, truths: dict[str, Path], tmp_path: Path
) -> None:
    """Two at once, from a zip, which each opens for itself."""
    file = shutil.make_archive(str(tmp_path / "a"), "zip", truths[spec] / MASKS)
    one, two = (told(spec, "--predictions", file, "--score", "--processes", count) for count in ("1", "2"))
    assert one == two and "Convention" in one


def test_the_truth_of_davis_has_100_and_a_lost_object_costs(
    told: Print, truths: dict[str, Path], tmp_path: Path
) -> None:
    spec = "ref_davis17|valid"
    table = told(spec, "--predictions", truths[spec], "--score")
    assert numbers(table, "mean")[1:4] == [100, 100, 100]
    shutil.copytree(truths[spec], tmp_path / "some")
    lost = sorted((tmp_path / "some" / MASKS).glob("*/0"))[0]
    shutil.rmtree(lost)
    with pytest.raises(
        SystemExit, match=rf"no prediction for 1 of \d+ expressions .*: {lost.parent.name}/0;"
    ):
        told(spec, "--predictions", tmp_path / "some", "--score")
    table = told(spec, "--predictions", tmp_path / "some", "--score", "--missing", "empty")
    assert re.search(rf"\n1 of \d+ expressions had no prediction .* {lost.parent.name}/0\.$", table)
    objects, *first = numbers(table, "annotator 0")
    assert first[0] == pytest.approx(100 * (objects - 1) / objects, abs=0.01)
    assert numbers(table, "annotator 1")[1] == 100
    told(spec, "--predictions", tmp_path / "some", "--zip", tmp_path / "a.zip", "--missing", "empty")
    assert told(spec, "--predictions", tmp_path / "a.zip", "--score").strip() == table.rpartition("\n\n")[0]


def test_davis_is_scored_officially_by_a_run_and_by_files_alike(
    root: Path, told: Print, truths: dict[str, Path], tmp_path: Path
) -> None:
    """A run that draws true masks of half of the objects, then its masks as another program's."""
    spec, official = "ref_davis17|valid", "official"
    chosen = benchmark(spec)
    selection = chosen.open(root)

    def half(samples: Sequence[Sample]) -> Iterator[Drawn]:
        for number, sample in enumerate(samples):
            for frame in range(sample.num_frames):
                masks = [
                    target.masks((frame,))[0] & bool(int(target.key) // 4 % 2) for target in sample.targets
                ]
                yield Drawn(number, frame, tuple(answered(mask) for mask in masks))

    run = evaluate_asker(
        half, chosen, selection, named("lisa_tiny"), out_dir=tmp_path / "run", convention=official
    )
    table = told(spec, "--predictions", tmp_path / "run", "--score")
    objects, jf, j, *_, f, _, _ = numbers(table, "mean")
    assert isinstance(run.all, expressions.Score) and 0 < jf < 100
    assert (run.all.n, *(round(100 * one, 2) for one in (run.all.jf, run.all.j, run.all.f))) == (
        objects,
        jf,
        j,
        f,
    )
    assert {f"annotator {one}": numbers(table, f"annotator {one}")[1] for one in range(4)} == {
        name: round(100 * one.jf, 2) for name, one in run.kinds.items()
    }
    assert run.upstream.startswith("J&F-Mean,J-Mean,") and "objects merged" in str(run)
    assert read_scores(tmp_path / "run") == run
    again = score_folder(
        tmp_path / "run" / MASKS, selection, chosen, out_dir=tmp_path / "b", convention=official
    )
    assert replace(again.all, emission=run.all.emission) == run.all and again.protocol == "foreign"


def test_an_official_score_that_cannot_be_is_refused_before_anything_is_asked(root: Path) -> None:
    chosen = benchmark("ref_davis17|valid")
    with pytest.raises(
        ValueError, match="merges the masks of ref_davis17.valid, which are kept nowhere here"
    ):
        evaluate_asker(nobody, chosen, chosen.open(root), named("lisa_tiny"), convention="official")
    with pytest.raises(ValueError, match="its masks are no palette PNGs"):
        check_official(benchmark("mevis|valid_u").open(root))


def nobody(samples: Sequence[Sample]) -> Iterator[Drawn]:
    raise AssertionError("asked all the same")


def test_the_truth_of_revos_has_100_and_knows_what_is_not_there(told: Print, truths: dict[str, Path]) -> None:
    table = told("revos|valid", "--predictions", truths["revos|valid"], "--score")
    assert numbers(table, "overall")[:5] == [100] * 5
    assert "N-acc 100.00 of" in table and "T-acc 100.00 of" in table


def test_an_official_score_says_whose_masks_they_are(
    told: Print, truths: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / MASKS).symlink_to(truths["revos|valid"] / MASKS)
    write_origin(tmp_path, Origin("runs/b/merged", {"weights": {}}, leak="it was trained on it"))
    table = told("revos|valid", "--predictions", tmp_path, "--score")
    assert table.startswith(told("revos|valid", "--predictions", truths["revos|valid"], "--score").strip())
    assert "Weights: runs/b/merged, files " in table and "LEAK: it was trained on it; this is no" in table


def test_revos_needs_its_foreground(
    root: Path, truths: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ReVOS").mkdir()
    for place in (root / "ReVOS").iterdir():
        if "foreground" not in place.name:
            (tmp_path / "ReVOS" / place.name).symlink_to(place)
    arguments = ["--benchmark", "revos|valid", "--predictions", str(truths["revos|valid"]), "--score"]
    with pytest.raises(SystemExit, match=r"mask_dict_foreground\.json"):
        main(["--dataset_dir", str(tmp_path), *arguments])
    whole = json.loads((root / "ReVOS" / "mask_dict_foreground.json").read_text())
    for about in whole.values():
        about["masks_rle"].pop()
    (tmp_path / "ReVOS" / "mask_dict_foreground.json").write_text(json.dumps(whole))
    with pytest.raises(SystemExit, match=r"foreground\.json: TOY_\d+: \d+ masks, the video has \d+ frames"):
        main(["--dataset_dir", str(tmp_path), *arguments])


def test_a_split_without_truth_is_not_scored(told: Print, truths: dict[str, Path]) -> None:
    with pytest.raises(SystemExit, match=r"mevis\|valid: only the benchmark's server knows its truth"):
        told("mevis|valid", "--predictions", truths["mevis|valid_u"], "--score")


# ---- LV-VIS -----------------------------------------------------------------------------------------------------------
def true_results(root: Path) -> list[dict[str, Any]]:
    """Every object by itself."""
    annotations = json.loads((root / "lvvis" / "val_instances.json").read_text())["annotations"]
    fields = ("video_id", "category_id", "segmentations")
    return [{"score": 0.5} | {field: one[field] for field in fields} for one in annotations]


def test_lvvis_the_truth_object_by_object_has_100(root: Path, told: Print, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(true_results(root)))
    assert set(numbers(told("lvvis|val", "--predictions", tmp_path / "results.json", "--score"), "AP")) == {
        100
    }


def test_lvvis_classes_are_handed_in_as_one_object_each_as_sure_as_the_decoder(
    told: Print, truths: dict[str, Path], tmp_path: Path
) -> None:
    place, file = tmp_path / "some", tmp_path / "a.zip"
    shutil.copytree(truths["lvvis|val"], place)
    folders = sorted(path.relative_to(place / MASKS).as_posix() for path in (place / MASKS).glob("*/*"))
    head = "sample,target,key,name,kind,text,answer,status,slots,confidence,rejected,file\n"
    (place / "predictions.csv").write_text(f"{head}0,0,k,n,,t,a,ok,1,0.25,False,{folders[0]}\n")
    assert f"{len(folders)} predictions for {len(folders)} expressions" in told(
        "lvvis|val", "--predictions", place, "--zip", file
    )
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["results.json"]
        results = json.loads(archive.read("results.json"))
    assert sorted(one["score"] for one in results) == [0.25] + [1.0] * (len(folders) - 1)
    assert {str(one["category_id"]) for one in results} == {folder.partition("/")[2] for folder in folders}
    table = told("lvvis|val", "--predictions", file, "--score")
    assert table == told("lvvis|val", "--predictions", place, "--score") and numbers(table, "AP")[0] > 50


def changed(**values: Any) -> Callable[[list[dict[str, Any]]], object]:
    return lambda results: results[0].update(values)


WRONG: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "a video": (changed(video_id=99), r"prediction 0 is about the video 99, which is none of the \d"),
    "a category": (changed(category_id="cat"), r"has the category 'cat', which is none of the \d+"),
    "a score": (changed(score="high"), "has the score 'high', permitted are numbers"),
    "no number": (changed(score=float("nan")), "has the score nan"),
    "too few": (changed(segmentations=[]), r"has 0 masks, its video \d+ frames"),
    "no masks": (changed(segmentations=None), "has no list of masks"),
    "no fields": (lambda results: results[0].clear(), "is no object with video_id, category_id"),
    "another size": (
        lambda results: results[0]["segmentations"].__setitem__(0, {"size": [4, 4], "counts": "`0"}),
        "has a mask of frame 0 that is none",
    ),
}


@pytest.mark.parametrize("damage, why", WRONG.values(), ids=WRONG)
def test_lvvis_a_wrong_prediction_is_counted_and_named(
    damage: Callable[[list[dict[str, Any]]], object], why: str, root: Path, told: Print, tmp_path: Path
) -> None:
    results, file = true_results(root), tmp_path / "results.json"
    file.write_text(json.dumps(results))
    assert f"{len(results)} predictions" in told("lvvis|val", "--validate", file)
    damage(results)
    file.write_text(json.dumps(results))
    with pytest.raises(SystemExit, match=rf"1 of {len(results)} predictions are wrong: [^\n]*{why}"):
        told("lvvis|val", "--validate", file)


def test_lvvis_a_zip_holds_the_file_alone(told: Print, tmp_path: Path) -> None:
    for names, why in (
        (("submission/results.json",), "permitted is results.json alone, in no folder"),
        (("results.json", "note.txt"), "permitted is results.json alone"),
        (("masks.json",), "holds no results.json with a list of predictions"),
    ):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in names:
                archive.writestr(name, "[]")
        with pytest.raises(SystemExit, match=why):
            told("lvvis|val", "--validate", tmp_path / "a.zip")


@pytest.mark.parametrize(
    "keys, told", [(("0", "1"), r"annotators speak of \[1, 1, 0, 0\] objects"), (("a",), "has no number")]
)
def test_videos_without_four_annotators_are_told_how_they_are_scored(keys: Sequence[str], told: str) -> None:
    targets = tuple(Target(("a cup",), lambda _: np.zeros((0, 4, 4), np.bool_), key=key) for key in keys)
    video = Sample("v", (4, 4), lambda _: np.zeros((4, 4, 3), np.uint8), 2, targets)
    with pytest.raises(ValueError, match=f"^v: .*{told}.*; videos of your own are .* without --convention"):
        by_annotator(video)
