"""The scripts of the benchmarks: from any folder, in paths with spaces, with errors that say what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from seglm.dataset.sources import describe
from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.told.__main__ import TASKS
from tests.evaluation.calls import called
from tests.evaluation.truths import toy_videos, write_truth

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests" / "goldens" / "metrics"
SCRIPTS = sorted(path.relative_to(ROOT) for path in (ROOT / "evaluation").glob("*/run_*.sh"))


def run(script: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The script under this very Python: a folder that looks like an active environment, with nothing to install."""
    venv = cwd / "an environment"
    (venv / "bin").mkdir(parents=True, exist_ok=True)
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\n[ "$2" = pip ] || exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    env = {**os.environ, "VIRTUAL_ENV": str(venv), "NGPU": "1", "PYTHONPATH": ""}
    return subprocess.run(
        ["bash", str(ROOT / script), *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_every_benchmark_has_both_scripts() -> None:
    """Those of videos are called as in VideoLISA's tree, where it has them."""
    names = {
        "grandf_gcg": "gcg",
        "grefcoco": "grefcoco",
        "lvvis": "lvvis",
        "mevis": "mevis",
        "mevis_val_u": "mevis",
        "my_qa": "qa",
        "reason_vos": "reason_vos",
        "reasonseg": "reasonseg",
        "ref_sav": "ref_sav",
        "refcoco": "refcoco",
        "refcocog_regions": "regions",
        "refdavis": "refdavis",
        "refytvos": "refytvos",
        "revos": "revos",
    }
    wanted = {
        f"{folder}/run_{what}_{name}.sh" for folder, name in names.items() for what in ("eval", "inference")
    }
    found = {path.relative_to("evaluation").as_posix() for path in SCRIPTS}
    assert found == wanted | {"refdavis/run_post_process.sh"}
    assert all(os.access(ROOT / path, os.X_OK) for path in SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=Path.as_posix)
def test_a_script_names_itself_and_a_benchmark_that_is_there(script: Path) -> None:
    text = (ROOT / script).read_text(encoding="utf-8")
    assert f"#   bash {script.as_posix()} --" in text
    assert all(
        path in set(SCRIPTS) for path in map(script.parent.joinpath, re.findall(r"\brun_\w+\.sh", text))
    )
    [spec] = re.findall(
        r'^.*seglm\.evaluation\..*--(?:val_dataset|benchmark) "([^"]+)" "\$@"$', text, re.MULTILINE
    )
    if "seglm.evaluation.told" in text:
        assert describe(spec)[0].family in TASKS
        return
    is_served = benchmark(spec).data.partition("|")[2] in benchmark(spec).scored.served
    assert not is_served or ("offline" not in text and "--score" not in text)


@pytest.mark.parametrize("processes", ["abc", "0", "-1", "1.5"])
def test_what_is_no_number_of_processes_is_said_in_one_line(processes: str, tmp_path: Path) -> None:
    status, calls, said = called(
        "evaluation/mevis/run_inference_mevis.sh", tmp_path, "--help", NGPU=processes
    )
    assert (status, calls) == (1, [])
    assert said == f"error: NGPU={processes}: it has to be a number from 1\n"


def test_a_cdpath_of_the_users_leads_nobody_astray(tmp_path: Path) -> None:
    """With it `cd` prints where it goes, and may go elsewhere."""
    called(
        "evaluation/mevis/run_inference_mevis.sh", tmp_path, "--help"
    )  # leaves an environment that does nothing
    done = subprocess.run(
        ["bash", "-ec", '. evaluation/environment.sh; echo "$SEGLM_ROOT"'],
        cwd=ROOT,
        env={**os.environ, "VIRTUAL_ENV": str(tmp_path / "venv"), "CDPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{ROOT}\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_without_arguments_says_what_it_needs(script: Path, tmp_path: Path) -> None:
    done = run(script, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    needed = "--version" if "inference" in script.name else "--predictions"
    assert "the following arguments are required" in done.stderr
    assert needed in done.stderr or "seglm.evaluation.told" in done.stderr
    assert "python -m seglm.evaluation" in done.stderr


@pytest.mark.slow
def test_predictions_of_another_program_are_scored_from_any_folder(tmp_path: Path) -> None:
    here = tmp_path / "a folder"
    shutil.copytree(GOLDENS / "reasonseg", here / "golden data")
    script = Path("evaluation/reasonseg/run_eval_reasonseg.sh")
    done = run(
        script,
        "--predictions",
        "golden data/predictions",
        "--dataset_dir",
        "golden data",
        "--out",
        "scores",
        cwd=here,
    )
    assert done.returncode == 0, done.stderr
    assert "### ReasonSeg|val|all|first_text" in done.stdout and "| all | 10 |" in done.stdout
    sheet = cv2.imread(str(here / "scores" / "worst_and_best.png"))
    assert sheet is not None and np.ptp(sheet) > 0


@pytest.mark.slow
def test_masks_of_videos_become_a_zip_and_a_score_from_any_folder(tmp_path: Path) -> None:
    here = tmp_path / "a folder"
    root = toy_videos(here / "toy videos")
    for spec, name in (("ref_youtube_vos|valid", "to hand in"), ("ref_davis17|valid", "to score")):
        write_truth(root, spec, here / name)
    folder = Path("evaluation")
    flags = ("--predictions", "to hand in", "--dataset_dir", "toy videos", "--zip", "made here/a.zip")
    done = run(folder / "refytvos/run_eval_refytvos.sh", *flags, cwd=here)
    assert done.returncode == 0 and "all as they are taken" in done.stdout, done.stderr
    done = run(folder / "refytvos/run_eval_refytvos.sh", *flags[2:4], "--validate", flags[-1], cwd=here)
    assert done.returncode == 0 and "all as they are taken" in done.stdout, done.stderr
    done = run(folder / "refdavis/run_eval_refdavis.sh", "--predictions", "to score", *flags[2:4], cwd=here)
    assert done.returncode == 0 and re.search(r"\| mean \| \d+ \| 100\.00 \|", done.stdout), done.stderr
