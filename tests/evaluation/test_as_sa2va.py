"""The two commands that Sa2VA's and DeSa2VA's READMEs print."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from seglm.evaluation import run
from seglm.evaluation.as_sa2va import DATASETS, SCRIPT, main
from seglm.model.recipes import recipes
from seglm.utils.cli import read
from tests.evaluation.calls import ROOT, called, help_of

SERVED = {
    "MEVIS",
    "REFYTVOS",
}  # sa2va's `mask_file: None`, but for ReVOS, whose truth its scorer reads itself
DIST = "tools/dist.sh"
CONFIG = "projects/llava_sam2/configs/desa2va_4b.py"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """What `evaluation.run` is told, by its own parser: an error for a flag that is none."""
    found: list[argparse.Namespace] = []
    monkeypatch.setattr(run, "main", lambda words: found.append(run._parsed(words)))
    return found


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("model", [["a model"], ["--model_path", "a model"]])
def test_what_has_a_truth_is_scored_and_the_rest_is_written(
    dataset: str, model: list[str], asked: list[argparse.Namespace]
) -> None:
    main([*model, "--dataset", dataset, "--work_dir", "out", "--launcher", "none", "--local_rank", "0"])
    [given] = asked
    assert (given.version, given.val_dataset, given.out) == ("a model", DATASETS[dataset], Path("out"))
    assert given.dataset_dir == Path("data") and given.inference_only == (dataset in SERVED)


def test_masks_alone_are_written_for_who_submits(asked: list[argparse.Namespace]) -> None:
    main(["a", "--dataset", "DAVIS", "--submit", "--data_root", "elsewhere", "--overwrite"])
    [given] = asked
    assert given.inference_only and given.overwrite and given.dataset_dir == Path("elsewhere")


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "give the model once, .*the command itself is python -m seglm.evaluation.run"),
        (["a", "--model_path", "b"], "give the model once"),
        (
            ["a", "--launcher", "pytorch"],
            "call it with python -m torch.distributed.run .*ref_vos_eval.py MODEL",
        ),
        (["a", "--dataset", "davis"], "invalid choice: 'davis'"),
        (["a", "--datasets", "DAVIS"], "did you mean --dataset"),
    ],
)
def test_a_wrong_flag_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.count("\n") == 1
    assert re.search(message, said), said


def test_the_script_is_a_command_from_anywhere(tmp_path: Path) -> None:
    said = help_of(SCRIPT, tmp_path)
    assert "by Sa2VA's flags" in said and "python -m seglm.evaluation.run" in said


def test_a_config_is_the_recipe_of_its_name(tmp_path: Path) -> None:
    status, [trained], said = called(
        DIST, tmp_path, "train", CONFIG, "8", "--epochs", "2", DEEPSPEED="deepspeed_zero2", PORT="29600"
    )
    assert status == 0, said
    [launcher, *given] = trained[1:]
    assert launcher == "seglm.utils.launch" and given[0] == str(ROOT / "train_ds.py")
    options = read(given[1:])  # an error for a flag that is none
    assert options.recipe == options.exp_name == "desa2va_4b" and options.recipe in recipes()
    assert options.version == "pretrained/InternVL2_5-4B"
    assert dict(options.settings) == {
        "decoder.weights": "pretrained/sam2_hiera_large.pt",
        "data.dataset_dir": "data",
        "engine.zero": "2",
        "schedule.epochs": "2",
    }
    assert said.startswith("NGPU=8 bash run_train.sh --recipe desa2va_4b ")


def test_a_recipe_with_bases_of_its_own_keeps_them(tmp_path: Path) -> None:
    _, [trained], _ = called(DIST, tmp_path, "train", "desa2va_tiny", "1", "--dataset_dir", "toy")
    options = read(trained[3:])
    assert options.version is None and dict(options.settings) == {"data.dataset_dir": "toy"}


def test_on_a_qwen_the_base_is_no_internvl(tmp_path: Path) -> None:
    _, [trained], _ = called(DIST, tmp_path, "train", "sa2va_qwen3_4b.py", "1")
    options = read(trained[3:])
    assert options.version is None
    assert dict(options.settings)["decoder.weights"] == "pretrained/sam2_hiera_large.pt"


@pytest.mark.parametrize(
    "words, settings, message",
    [
        ([], {}, "'' is not permitted; write train CONFIG GPUS"),
        (["test", CONFIG, "8"], {}, "scored by python -m seglm.evaluation.run"),
        (["train"], {}, "train needs a config"),
        (["train", CONFIG], {}, "is no number of GPUs"),
        (["train", CONFIG, "--lr"], {}, "'--lr' is no number of GPUs"),
        (["train", CONFIG, "8"], {"DEEPSPEED": "fsdp"}, "DEEPSPEED=fsdp is not permitted"),
        (["train", CONFIG, "8"], {"NNODES": "2"}, "NNODES=2 needs HOSTFILE"),
    ],
)
def test_a_wrong_call_says_the_command_itself(
    words: list[str], settings: dict[str, str], message: str, tmp_path: Path
) -> None:
    status, calls, said = called(DIST, tmp_path, *words, **settings)
    assert (status, calls) == (2, []) and message in said
    assert "the command itself is NGPU=8 bash run_train.sh --recipe desa2va_4b" in said


def test_the_script_of_a_training_says_what_it_is() -> None:
    done = subprocess.run(["bash", str(ROOT / DIST), "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Sa2VA's and DeSa2VA's command for a training") and CONFIG in done.stdout
    assert "set -e" not in done.stdout
