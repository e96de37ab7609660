"""Numbers and paths of the commands that read their flags with argparse."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from seglm.utils.ranges import place
from tests.house.tree import FOLDERS, ROOT

WRONG = """
    chat                      | --max_new_tokens 0         | permitted are numbers from 1
    chat                      | --image_size -1            | permitted are numbers from 1
    chat                      | --model_max_length 1.5     | invalid literal
    chat                      | --vis_save_path=           | permitted are values that are not empty
    chat                      | --video https://a.b/c.mp4  | permitted are paths on this machine
    seglm.dataset.check       | --dataset_dir s3://data    | permitted are paths on this machine
    merge_lora_weights_and_save_hf_model | --weight x --save_path= | permitted are values that are not empty
    seglm.model.released.delta | --base a --delta b --target= | permitted are values that are not empty
    seglm.dataset.check       | --decode 2                 | permitted are numbers from 0 up to 1
    seglm.dataset.check       | --decode nan               | a finite number
    seglm.dataset.check       | --dataset_dir=             | permitted are values that are not empty
    seglm.dataset.toy.__main__ | --images -1               | permitted are numbers from 0
    seglm.dataset.toy.__main__ | --size 0                  | permitted are numbers from 16
    seglm.dataset.toy.__main__ | --seed x                  | invalid literal
    seglm.evaluation.run      | --batch_size 0             | permitted are numbers from 1
    seglm.evaluation.run      | --max_new_tokens -5        | permitted are numbers from 1
    seglm.evaluation.run      | --out=                     | permitted are values that are not empty
    seglm.evaluation.league.__main__ | --minutes nan       | a finite number
    seglm.evaluation.league.__main__ | --minutes 0         | permitted are numbers above 0
    seglm.evaluation.league.__main__ | --jobs 0            | permitted are numbers from 1
    seglm.evaluation.table    | --out= a=b                 | permitted are values that are not empty
    seglm.preflight           | --recipe lisa_tiny --steps 0 | permitted are numbers from 1
    seglm.preflight           | --recipe lisa_tiny --samples 0 | permitted are numbers from 1
    seglm.preflight           | --recipe lisa_tiny --lr inf | a finite number
    seglm.preview             | --recipe lisa_tiny --samples 0 | permitted are numbers from 1
    seglm.preview             | --recipe lisa_tiny --samples 257 | permitted are numbers from 1 up to 256
    seglm.preview             | --recipe lisa_tiny --out=  | permitted are values that are not empty
    seglm.plan                | --recipe lisa_tiny --gpus 0 | permitted are numbers from 1
    seglm.plan                | --recipe lisa_tiny --gpus 1.5 | invalid literal
    seglm.plan                | --recipe lisa_tiny --zero 4 | invalid choice
    seglm.doctor              | --log_base_dir=            | permitted are values that are not empty
    seglm.dataset.check       | --decode x                 | could not convert
    seglm.dataset.davis       | --davis= --texts a --out b | permitted are values that are not empty
    seglm.dataset.davis       | --davis a --texts b --out= | permitted are values that are not empty
    seglm.dataset.toy.__main__ | --sets pictures           | invalid choice
    seglm.dataset.toy.__main__ | --test_images 1e3         | invalid literal
    seglm.evaluation.run      | --protocol guess           | invalid choice
    seglm.evaluation.offline  | --predictions a --dataset_dir b --val_dataset c --missing skip | invalid choice
    seglm.evaluation.baselines | --out=                    | permitted are values that are not empty
    chat                      | --precision fp64           | invalid choice
    chat                      | --lora_r -7                | permitted are numbers from -1
    chat                      | --local_rank abc           | invalid literal
    seglm.evaluation.run      | --local_rank -1            | permitted are numbers from 0
"""
ROWS = [[part.strip() for part in line.split(" | ")] for line in WRONG.strip().splitlines()]


@pytest.mark.parametrize("module, told, said", ROWS)
def test_a_number_or_path_that_cannot_be_meant_names_its_flag(
    module: str, told: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        import_module(module).main(told.split(" "))
    [line] = capsys.readouterr().err.splitlines()
    flags = [word.partition("=")[0] for word in told.split(" ") if word.startswith("--")]
    assert line.startswith("error: argument ") and any(flag in line for flag in flags) and said in line, line


@pytest.mark.parametrize(
    "module, told, said",
    [
        (
            "seglm.evaluation.offline",
            "--predictoins a --val_dataset b",
            "unknown flag '--predictoins'; did you mean --predictions? (",
        ),
        (
            "seglm.evaluation.offline",
            "--predictions=a",
            "the following arguments are required: --dataset_dir, --val_dataset (",
        ),
        ("seglm.evaluation.run", "--val_datset=x", "unknown flag '--val_datset'; did you mean --val_dataset"),
        ("seglm.dataset.check", "--decodes 1", "unknown flag '--decodes'; did you mean --decode? ("),
        ("chat", "--promt x", "unknown flag '--promt'; did you mean --prompt"),
        ("seglm.plan", "--recpie lisa_7b", "unknown flag '--recpie'; did you mean --recipe"),
        # Half a name was a whole one, and this the folder of the data.
        (
            "seglm.preview",
            "--recipe lisa_tiny --dataset reason_seg",
            "unknown flag '--dataset'; did you mean --dataset_dir? Here data.mixture=VALUE says what --dataset says to "
            "train_ds.py (",
        ),
        (
            "seglm.evaluation.run",
            "--version a --dataset ReasonSeg|val",
            "unknown flag '--dataset'; did you mean --val_dataset or --dataset_dir? (",
        ),
    ],
)
def test_a_slip_in_a_flag_is_one_line_with_the_nearest_name(
    module: str, told: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        import_module(module).main(told.split(" "))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}") and line.endswith("--help)"), line


def test_every_command_reads_its_flags_by_the_one_parser() -> None:
    files = [*ROOT.glob("*.py"), *(ROOT / "seglm").glob("*.py")]
    files += [file for folder in (*FOLDERS, "benchmarks") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 200
    plain = [file for file in files if "argparse.ArgumentParser" + "(" in file.read_text(encoding="utf-8")]
    assert [file.relative_to(ROOT).as_posix() for file in plain] == []


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", "cuda:", "meta", "cpu:7"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(SystemExit, match=f"error: --device {device}: permitted on this machine are cpu"):
        import_module("seglm.preflight").main(["--recipe", "lisa_tiny", "--device", device])


@pytest.mark.parametrize(
    "module, told",
    [
        ("merge_lora_weights_and_save_hf_model", "--weight /nowhere --save_path"),
        ("seglm.model.released.delta", "--base /nowhere --delta /nowhere --target"),
        (
            "seglm.evaluation.run",
            "--version /nowhere --dataset_dir /nowhere --val_dataset ReasonSeg|val --out",
        ),
        ("seglm.evaluation.baselines", "--dataset_dir /nowhere --out"),
        ("seglm.evaluation.table", "a=/nowhere --out"),
        ("seglm.evaluation.league.__main__", "--dataset_dir /nowhere --out"),
        ("seglm.preview", "--recipe lisa_tiny --dataset_dir /nowhere --out"),
    ],
)
def test_a_folder_for_files_is_looked_at_before_anything_is_opened(
    module: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folder, flag = tmp_path / "file" / "out", told.split(" ")[-1]
    with pytest.raises(
        SystemExit, match=rf"^error: {flag} {folder}: .*file is there and no folder; give a folder"
    ):
        import_module(module).main([*told.split(" "), str(folder)])


def test_a_path_from_home_is_one_in_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert place("~/out") == Path("/home/me/out")
