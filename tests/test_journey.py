"""The whole way at the smallest size, through the very commands a user types: data, training, merge, evaluation, an answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

SETTINGS = [
    "--recipe=lisa_tiny",
    "--dataset_dir=data",
    "--exp_name=a run",
    "--steps_per_epoch=2",
    "--batch_size=2",
    "--print_freq=1",
    "optim.warmup_steps=1",
]
TIGHT = pytest.mark.timeout(1200)
pytestmark = [pytest.mark.slow, TIGHT]


def run(*command: str | Path, cwd: Path, fails: bool = False, **environment: str) -> str:
    """What a command prints; runs the checkout's own code."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | environment
    line = [sys.executable, *map(str, command)]
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, said[-4000:]
    # What a library is about to take away is not the user's concern.
    assert not {"DeprecationWarning", "FutureWarning"} & set(re.findall(r"\w+Warning", said)), said[-4000:]
    return said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose path has a space, with a small toy world in it and one epoch trained on two processes."""
    folder = tmp_path_factory.mktemp("a journey")
    sizes = ("--images", "120", "--val_images", "4", "--test_images", "4")
    run("-m", "seglm.dataset.toy", "--dataset_dir", "data", *sizes, cwd=folder)
    script = ROOT / "train_ds.py"
    said = run("-m", "seglm.utils.launch", script, *SETTINGS, "--epochs=1", cwd=folder, NGPU="2")
    (folder / "said.txt").write_text(said)
    return folder


def test_the_first_lines_say_what_the_run_is(place: Path) -> None:
    log = (place / "runs" / "a run" / "log.txt").read_text()
    for words in (
        "recipe: lisa_tiny (--recipe says so)",
        "against lisa_7b:",
        "optim.warmup_steps: 100 -> 1",
        "commit: ",
        "ReasonSeg|train: ",
        "full   llm.embed_tokens",
        "lora   llm (LoRA)",
        "effective batch 4 images = batch_size 2 x grad_accumulation_steps 1 x 2 processes",
    ):
        assert words in log, words


def test_a_run_leaves_curve_scores_manifest_and_checkpoints(place: Path) -> None:
    run = place / "runs" / "a run"
    for name in (
        "curve.png",
        "metrics.csv",
        "scores.csv",
        "ckpt_model/latest",
        "ckpt_model/zero_to_fp32.py",
        "portable/model.safetensors",
        "eval/validation/worst_and_best.png",
    ):
        assert (run / name).is_file(), name
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["data"]["ReasonSeg|train"]["samples"] > 0
    assert manifest["resolved"]["schedule"]["steps_per_epoch"] == 2


def test_a_second_run_of_the_same_name_is_refused(place: Path) -> None:
    said = run(ROOT / "train_ds.py", *SETTINGS, "--epochs=1", cwd=place, fails=True)
    assert "already holds a run" in said and "--resume" in said


def test_a_run_goes_on_where_it_stopped(place: Path) -> None:
    said = run(ROOT / "train_ds.py", *SETTINGS, "--epochs=2", "--resume", cwd=place)
    assert "going on after step 2, sample 8" in said and "done after step 4 of 4" in said
    assert "another setting than before the stop: schedule.epochs: 1 -> 2" in said
    steps = [
        line.split(",")[0] for line in (place / "runs" / "a run" / "metrics.csv").read_text().splitlines()
    ]
    assert [float(step) for step in steps[1:]] == [1, 2, 3, 4]


def test_merge_evaluation_and_chat_follow(place: Path) -> None:
    merge = ROOT / "merge_lora_weights_and_save_hf_model.py"
    said = run(merge, "--weight", "runs/a run/portable", "--save_path", "merged", cwd=place)
    assert "verified against the un-merged model" in said
    scored = run(
        ROOT / "train_ds.py",
        "--version=merged",
        "--dataset_dir=data",
        "--eval_only",
        "--exp_name=a run",
        cwd=place,
    )
    assert "gIoU" in scored
    assert (place / "runs" / "a run" / "eval" / "ReasonSeg_val" / "scores.json").is_file()
    assert (place / "runs" / "a run" / "ckpt_model" / "latest").is_file()
    image, prompt = ROOT / "imgs" / "toy_ring.png", "Please segment the ring in this image."
    answer = run(ROOT / "chat.py", "--version", "merged", "--image", image, "--prompt", prompt, cwd=place)
    assert "text_output" in answer


def test_the_consolidated_checkpoint_merges_to_the_same_model(place: Path) -> None:
    run("zero_to_fp32.py", ".", "../pytorch_model.bin", cwd=place / "runs" / "a run" / "ckpt_model")
    merge = ROOT / "merge_lora_weights_and_save_hf_model.py"
    common = ("--recipe", "lisa_tiny", "--save_path", "merged too")
    said = run(merge, "--weight", "runs/a run/pytorch_model.bin", *common, cwd=place)
    assert "verified against the un-merged model" in said


def test_a_new_run_starts_from_trained_weights(place: Path) -> None:
    settings = [*(setting for setting in SETTINGS if "exp_name" not in setting), "--no_eval", "--epochs=1"]
    said = run(
        ROOT / "train_ds.py", *settings, "--init_from=runs/a run/portable", "--exp_name=more", cwd=place
    )
    assert "done after step 2 of 2" in said
