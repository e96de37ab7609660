"""Whole data sets and whole folders of predictions through the commands, against what the originals' own code printed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.scores.video_files import open_predictions
from seglm.evaluation.submit.__main__ import main
from seglm.evaluation.submit.forms import FORMS
from seglm.evaluation.submit.make import make_zip
from tests.conformance.goldens import each, facts
from tests.conformance.test_video_metrics import METRICS, expected

BLANK = 40  # grey of a frame; the goldens leave out frames, which no score looks at


def data(name: str, folder: str, root: Path, frames: str, masks: str = "") -> Path:
    """A copy of a golden's data with the frames that its masks belong to. masks: a folder of PNGs that have the size."""
    shutil.copytree(METRICS / name / folder, root / folder)
    metas = (root / folder).rglob("meta_expressions*.json")
    for meta in metas:
        for video, about in facts(str(meta))["videos"].items():
            sized = next((root / folder / masks / video).glob("*.png"), None) if masks else None
            size = Image.open(sized).size if sized else (about["width"], about["height"])
            for frame in about["frames"]:
                save(root / folder / frames / video / f"{frame}.jpg", size)
    return root


def save(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (BLANK,) * 3).save(path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[str]]:
    """The rows of the table that the command prints; the one that begins with `n` has the columns' names, if there is one."""
    capsys.readouterr()
    main(arguments)
    rows = [
        line.strip("| ").split(" | ")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("| ")
    ]
    return {name: cells for name, *cells in rows}


def percent(value: float | None) -> str:
    return "-" if value is None or value == -1 else f"{100 * value:.2f}"


@each("protocol", ["four_annotators"] if expected("ref_davis17") else [])
@pytest.mark.parametrize("form", ["expressions", "annotators"])
def test_ref_davis17(protocol: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy", reason="matching needs SciPy, which requirements.txt lists")
    want = expected("ref_davis17")[protocol]
    root = data("ref_davis17", "ref-davis", tmp_path, "valid/JPEGImages", "valid/Annotations")
    given = METRICS / "ref_davis17" / "predictions"
    flags = ["--dataset_dir", str(root), "--benchmark", "ref_davis17|valid"]
    if form == "annotators":
        selection = benchmark("ref_davis17|valid").open(root)
        make_zip(tmp_path / "a.zip", FORMS["ref_davis17"], selection, open_predictions(given))
        given = tmp_path / "a.zip"
    rows = printed(capsys, *flags, "--predictions", str(given), "--score")
    names = ["J&F-Mean", *(f"{kind}-{name}" for kind in "JF" for name in ("Mean", "Recall", "Decay"))]
    wanted = {f"annotator {number}": one for number, one in enumerate(want["anno"])} | {"mean": want["mean"]}
    for row, values in wanted.items():
        assert rows[row][1:] == [percent(values[name]) for name in names], row


@each("system", ["VISA_png_0_255"] if expected("revos") else [])
def test_revos(system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = data("revos", "ReVOS", tmp_path, "JPEGImages")
    flags = ["--dataset_dir", str(root), "--benchmark", "revos|valid", "--missing", "empty"]
    rows = printed(capsys, *flags, "--predictions", str(METRICS / "revos" / "predictions_0_255"), "--score")
    legacy, bytes_ = (expected("revos")[one]["results_json"] for one in (system, "VISA_png_0_1"))
    for row, name in (("referring", "referring"), ("reasoning", "reason"), ("overall", "overall")):
        cells = rows[row]
        assert cells[:3] == [f"{legacy[name][key]:.2f}" for key in ("JF", "J", "F")], row
        assert cells[5:] == [f"{one[name][key]:.2f}" for one in (legacy, bytes_) for key in "AR"], row


@each("name", ["LVVIS"] if expected("lvvis") else [])
@pytest.mark.parametrize("is_zipped", [False, True])
def test_lvvis(name: str, is_zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    want, given = expected("lvvis")[name], METRICS / "lvvis" / "results.json"
    root = tmp_path / "LVVIS"
    shutil.copytree(METRICS / "lvvis" / "LVVIS" / "val", root / "val")
    (root / "val" / "val_instances.json").rename(root / "val_instances.json")
    for video in facts(str(root / "val_instances.json"))["videos"]:
        for file in video["file_names"]:
            save(root / "val" / "JPEGImages" / file, (video["width"], video["height"]))
    if is_zipped:
        given = Path(shutil.make_archive(str(tmp_path / "a"), "zip", given.parent, given.name))
    flags = ["--dataset_dir", str(tmp_path), "--benchmark", "lvvis|val"]
    rows = printed(capsys, *flags, "--predictions", str(given), "--score")
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    assert [rows[one][0] for one in names] == [percent(value) for value in want["stats"]]
    assert rows["AP"][1:] == [percent(want["APb"]), percent(want["APn"])]


@each("system", ["VideoLISA"] if expected("reasonvos") else [])
def test_reasonvos(system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Predictions are called as VideoLISA's script calls them; one is missing, and left out of the mean as there."""
    want, folder = expected("reasonvos")[system], METRICS / "reasonvos"
    shutil.copytree(folder / "ReasonVOS", tmp_path / "ReasonVOS")
    for video, about in facts(str(folder / "ReasonVOS" / "meta_expressions.json"))["videos"].items():
        [*_, masks] = (folder / "ReasonVOS" / "Annotations").glob(f"{about['source']}_{video}_*/*.png")
        for frame in about["frames"]:
            save(tmp_path / "ReasonVOS" / "JPEGImages" / video / f"{frame}.jpg", Image.open(masks).size)
    flags = ["--dataset_dir", str(tmp_path), "--benchmark", "reasonvos|test", "--missing", "empty"]
    rows = printed(capsys, *flags, "--predictions", str(folder / "predictions_videolisa"), "--score")
    found = dict(zip(["n", *rows["n"]], rows["all"], strict=True))
    assert found["n"] == str(want["n_scored"]) and want["n_scored"] < want["n_total"]
    assert [found[name] for name in ("J&F", "J", "F")] == [f"{want[name]:.4f}" for name in ("J&F", "J", "F")]


FORMS_OF = {"MeViS": "predictions", "Sa2VA": "predictions_sa2va_results.json"}


@each("system", FORMS_OF if expected("mevis") else [])
def test_mevis(system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    want, form = expected("mevis")[system], FORMS_OF[system]
    shutil.copytree(METRICS / "mevis" / "mevis", tmp_path / "mevis")
    home = tmp_path / "mevis" / "valid_u"
    masks = facts(str(home / "mask_dict.json"))
    for video, about in facts(str(home / "meta_expressions.json"))["videos"].items():
        own = [number for one in about["expressions"].values() for number in one["anno_id"]]
        height, width = next(part["size"] for number in own for part in masks[str(number)] if part)
        for frame in about["frames"]:
            save(home / "JPEGImages" / video / f"{frame}.jpg", (width, height))
    flags = ["--dataset_dir", str(tmp_path), "--benchmark", "mevis|valid_u", "--missing", "empty"]
    rows = printed(capsys, *flags, "--predictions", str(METRICS / "mevis" / form), "--score")
    found = dict(zip(["n", *rows["n"]], rows["all"], strict=True))
    assert found["n"] == str(want["n"])
    assert [found[name] for name in ("J&F", "J", "F")] == [f"{want[name]:.4f}" for name in ("J&F", "J", "F")]
