"""Numbers and paths of the commands that read their flags with argparse."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from seglm.utils.ranges import place

WRONG = """
    chat                      | --max_new_tokens 0         | permitted are numbers from 1
    chat                      | --image_size -1            | permitted are numbers from 1
    chat                      | --model_max_length 1.5     | invalid literal
    chat                      | --vis_save_path=           | permitted are values that are not empty
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
"""
ROWS = [[part.strip() for part in line.split(" | ")] for line in WRONG.strip().splitlines()]


@pytest.mark.parametrize("module, told, said", ROWS)
def test_a_number_or_path_that_cannot_be_meant_names_its_flag(
    module: str, told: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        import_module(module).main(told.split(" "))
    line = capsys.readouterr().err.splitlines()[-1]
    flags = [word.partition("=")[0] for word in told.split(" ") if word.startswith("--")]
    assert any(f"error: argument {flag}" in line for flag in flags) and said in line, line


def test_a_device_that_is_none_is_refused() -> None:
    with pytest.raises(SystemExit, match="error: --device gpu: permitted are cpu, cuda"):
        import_module("seglm.preflight").main(["--recipe", "lisa_tiny", "--device", "gpu"])


def test_a_path_from_home_is_one_in_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert place("~/out") == Path("/home/me/out")
