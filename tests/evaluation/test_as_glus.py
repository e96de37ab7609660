"""The commands that GLUS' users have in their fingers: its scripts and its four programs that score."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from seglm.evaluation.as_glus import SCRIPTS, main
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import folder_name
from seglm.evaluation.scores.files import MASKS, SAID
from seglm.evaluation.scores.results import Said
from seglm.model.recipes import recipes
from seglm.utils.cli import read
from tests.evaluation.calls import ROOT, called, help_of
from tests.evaluation.truths import toy_videos, write_truth

FILES = {
    "mevis": ("mevis/valid_u/meta_expressions.json", ["mevis/valid_u/mask_dict.json"]),
    "davis": ("DAVIS17/meta_expressions/valid/meta_expressions.json", ["DAVIS17/valid/Annotations"]),
    "revos": (
        "ReVOS/meta_expressions_valid_.json",
        ["ReVOS/mask_dict.json", "ReVOS/mask_dict_foreground.json"],
    ),
    "reason_vos": ("ReasonVOS/meta_expressions.json", ["ReasonVOS/Annotations"]),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_videos(tmp_path_factory.mktemp("toy") / "videos")


def flags(name: str, root: Path, predictions: Path) -> list[str]:
    script, (expressions, masks) = SCRIPTS[name], FILES[name]
    named = [script.expressions, *script.masks, script.predictions]
    files = [root / expressions, *(root / file for file in masks), predictions]
    return [word for flag, file in zip(named, files, strict=True) for word in (f"--{flag}", str(file))]


@pytest.mark.parametrize("name", FILES)
def test_the_truth_has_100_by_glus_flags(
    name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_truth(root, SCRIPTS[name].benchmark, tmp_path / "truth")
    save = ["--save_name", str(tmp_path / "report.json")] if SCRIPTS[name].saves else []
    main(name, [*flags(name, root, tmp_path / "truth" / MASKS), *save])
    table = capsys.readouterr().out
    assert SCRIPTS[name].benchmark in table and ("| 1.0000 |" in table or "| 100.00 |" in table)
    assert (tmp_path / "report" / "scores.json").is_file() == SCRIPTS[name].saves


def test_a_data_set_may_be_a_link_to_where_it_is_called_otherwise(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    shutil.copytree(root / "mevis", tmp_path / "MeViS_release")
    (tmp_path / "data" / "mevis").symlink_to("../MeViS_release")
    write_truth(root, "mevis|valid_u", tmp_path / "truth")
    monkeypatch.chdir(tmp_path)
    main("mevis", [*flags("mevis", Path("data"), tmp_path / "truth" / MASKS), "--save_name", "report"])
    assert "| 1.0000 |" in capsys.readouterr().out


def test_what_the_script_wrote_is_found_where_it_was_told_to_write(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It makes a folder for the model and the benchmark there."""
    folder = tmp_path / folder_name("outputs/model", benchmark("mevis|valid_u"))
    write_truth(root, "mevis|valid_u", folder)
    (folder / SAID).write_text(",".join(field.name for field in fields(Said)) + "\n")
    main("mevis", flags("mevis", root, tmp_path))
    assert "| 1.0000 |" in capsys.readouterr().out and (folder / "scores.json").is_file()
    shutil.copytree(folder, tmp_path / "other_mevis_valid_u")
    with pytest.raises(
        SystemExit, match=r"several models \(model_mevis_valid_u, other_mevis_valid_u\); name one"
    ):
        main("mevis", flags("mevis", root, tmp_path))


def test_files_that_are_not_there_or_not_together_are_named(root: Path, tmp_path: Path) -> None:
    given = flags("mevis", root, tmp_path)
    with pytest.raises(SystemExit, match=r"--mevis_exp_path .*nowhere.json is not there"):
        main("mevis", [given[0], "/nowhere.json", *given[2:]])
    (tmp_path / "mask_dict.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"--mevis_mask_path .* does not lie below .*videos"):
        main("mevis", [*given[:3], str(tmp_path / "mask_dict.json"), *given[4:]])


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_utils_is_a_command_from_anywhere(name: str, tmp_path: Path) -> None:
    """Its folder holds a types.py, which is not Python's; and its flags are read before anything large is loaded."""
    assert f"--{SCRIPTS[name].predictions}" in help_of(f"utils/eval_{name}.py", tmp_path)


@pytest.mark.parametrize("name", ["glus_s", "glus_a"])
def test_a_script_trains_and_then_merges_what_it_trained(name: str, tmp_path: Path) -> None:
    status, [trained, merged], said = called(f"scripts/train_{name}.sh", tmp_path, "--epochs", "2")
    assert status == 0, said
    [launcher, *given] = trained[1:]
    assert launcher == "seglm.utils.launch" and given[0] == str(ROOT / "train_ds.py")
    options = read(given[1:])  # an error for a flag that is none
    assert options.recipe == name and name in recipes()
    assert options.version == "checkpoints/LISA-7B-v1"
    assert dict(options.settings)["decoder.weights"] == "checkpoints/sam2_hiera_large.pt"
    assert dict(options.settings)["schedule.epochs"] == "2"
    assert merged[1:] == ["--weight", f"outputs/logs/{name}/portable", "--save_path", "outputs/model"]


def test_a_model_that_is_there_stops_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    status, calls, said = called("scripts/train_glus_a.sh", tmp_path, SAVE_DIR="mine")
    assert (status, calls) == (2, []) and "mine/model is there already" in said


@pytest.mark.parametrize("given", ["--exp_name mine", "--log_base_dir=mine", "--exp-name mine"])
def test_where_a_script_trains_is_said_by_save_dir_alone(given: str, tmp_path: Path) -> None:
    status, calls, said = called("scripts/train_glus_s.sh", tmp_path, "--epochs", "2", *given.split())
    assert (status, calls) == (2, []) and said.count("\n") == 1
    assert said.startswith(given.split()[0]) and "set SAVE_DIR (now outputs) instead" in said


def test_the_script_of_inference_has_its_benchmark_at_its_top(tmp_path: Path) -> None:
    assert "\nval_set=" in (ROOT / "scripts" / "inference.sh").read_text()
    _, [call], _ = called(
        "scripts/inference.sh", tmp_path, "--batch_size", "1", val_set="revos", set_name="valid"
    )
    assert call[:3] == ["-m", "seglm.evaluation.run", "--inference_only"]
    assert call[call.index("--val_dataset") + 1] == "revos|valid"
    assert call[call.index("--version") + 1] == "outputs/model" and call[-2:] == ["--batch_size", "1"]
