"""Every command that README.md and docs/ print is run as printed, or says there what it needs that a test has not.

They run in a copy of the checkout under an interpreter that adds flags which make each program short; what a command wants to
find (a toy world, your data, trained and merged weights under the names of the real ones) is made before it. No command reaches a
network, and none asks for one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm.evaluation.asking.benchmark import benchmark
from tests.house.checkout import copy_checkout
from tests.house.documented import ALL, NEEDS, Command
from tests.house.tree import ROOT

LEAGUE = "--minutes 0.02 --seeds 0 --jobs 1 --benchmarks ReasonSeg|val"
SHORT = {
    "-m seglm.dataset.toy": "--images 120 --val_images 4 --test_images 8",
    "train_ds.py": "schedule.epochs=1 schedule.steps_per_epoch=1 schedule.batch_size=2 optim.warmup_steps=1",
    "-m seglm.evaluation.league --dataset_dir": f"{LEAGUE} --rows lisa_tiny",
    "-m seglm.evaluation.league --rows": LEAGUE,
    "-m seglm.evaluation.offline": "--missing empty",
    "-m pytest": "--collect-only -q",
    "-m seglm.bases.make --score": "--only sam",
    "-m deepspeed.launcher.runner": "--help",
}
"""what stands in an interpreter's arguments -> the flags behind them"""
ELSEWHERE = {
    r"python -m benchmarks\.": "tests/benchmarks/test_commands.py::test_a_benchmark_command_that_a_document_prints_runs",
    r".*\bleaves\b": "tests/house/test_adding_a_dataset.py::test_the_example_is_checked_trained_drawn_and_scored",
    r"python -m seglm\.preflight$": "tests/test_preflight.py::test_eight_samples_are_learnt_to_an_iou_above_0_9",
    r"pip install -e \.$": "tests/house/test_packaging.py::test_an_install_works_beside_foreign_packages_of_the_same_names",
    r"bash run_tests\.sh$": "the tests themselves run under it",
}
"""commands (a pattern) that another test runs, or runs in"""
STANDS_FOR = {"lisa-7b": "lisa_tiny", "keyseg-7b": "keyseg_tiny", "gsva-7b": "gsva_tiny"}
WITHOUT_A_NETWORK = """import socket
asked = socket.getaddrinfo
def getaddrinfo(host, *more, **flags):
    name = host.decode() if isinstance(host, bytes) else host
    if name not in (None, "", "localhost", "127.0.0.1", "0.0.0.0", "::1", "::", socket.gethostname()):
        raise OSError(f"this test has no network, and {name} was asked for")
    return asked(host, *more, **flags)
socket.getaddrinfo = getaddrinfo
"""
"""Python's own `sitecustomize`: every interpreter that a command starts can reach this machine only"""
INTERPRETER = """#!/bin/bash
[ "$1 $2" != "-m pip" ] || exit 0
case " $* " in
{cases}
esac
exec {python} "$@"
"""


def elsewhere(command: Command) -> str | None:
    return next(
        (test for pattern, test in ELSEWHERE.items() if re.match(pattern, command.line.strip())), None
    )


RUN = list(dict.fromkeys(one.line for one in ALL if not one.needs and not elsewhere(one)))


def test_a_mark_says_what_the_readme_explains() -> None:
    """And none is on a command of the toy world, which needs nothing."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "# needs" in readme and all(f"`{word}`" in readme for word in NEEDS)
    for command in ALL:
        assert set(command.needs) <= set(NEEDS), command
        assert not command.needs or not re.search("toy|_tiny", command.line.replace("imgs/toy", "")), command


def test_what_another_test_runs_is_run_there() -> None:
    for pattern, test in ELSEWHERE.items():
        assert any(re.match(pattern, one.line.strip()) for one in ALL), pattern
        if "::" in test:
            file, name = test.split("::")
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


class Place:
    """The copy, and what the commands expect to find in it."""

    def __init__(self, folder: Path) -> None:
        self.root = copy_checkout(folder / "checkout", without=())
        self.python = folder / "environment" / "bin" / "python"
        self.python.parent.mkdir(parents=True)
        cases = "\n".join(
            f'*"{program} "*) set -- "$@" {shlex.join(flags.split())} ;;' for program, flags in SHORT.items()
        )
        self.python.write_text(INTERPRETER.format(cases=cases, python=shlex.quote(sys.executable)))
        self.python.chmod(0o755)
        self.offline = folder / "offline"
        self.offline.mkdir()
        (self.offline / "sitecustomize.py").write_text(WITHOUT_A_NETWORK)

    def run(self, line: str) -> str:
        """What a shell in the checkout says to that line; it has to end well."""
        environment = os.environ | {
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.python.parent.parent),
            "PYTHONPATH": f"{self.root}{os.pathsep}{self.offline}",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "0",
            "SEGLM_TRACEBACK": "1",
        }
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-4000:]
        return said

    def prepare(self, line: str) -> None:
        """Everything that the line names and reads is there, and nothing that it writes."""
        for out in re.findall(r"(?:--save_path|--out) (\S+)|(\S*pytorch_model\.bin)$", line):
            shutil.rmtree(self.root / "".join(out), ignore_errors=True)
        if name := re.search(r"--exp_name (\S+)", line):
            shutil.rmtree(self.root / "runs" / name[1], ignore_errors=True)
        makers: list[tuple[str, Callable[..., None]]] = [
            (r"(data/toy|my_system_tiny|evaluation\.league)", lambda _: self.toy()),
            (r"data/toy .*\b(mevis)\||(videolisa_tiny) --dataset_dir data/toy", lambda _: self.toy_videos()),
            (r"(\./dataset)", lambda _: self.dataset()),
            (r"--dataset_dir (my_data)", lambda _: self.my_data()),
            (r"--dataset_dir (my_videos)", lambda _: self.my_videos()),
            (r"(runs/lisa_tiny/merged)", lambda _: self.toy_journey()),
            (r"(my_system_tiny)", lambda _: self.my_system()),
            (r"(?<!--save_path )merged/([\w-]+)", self.merged),
            (r"runs/(lisa-7b|gsva-7b|keyseg-7b)", self.trained),
            (r"(liuhaotian)", lambda _: self.base()),
            (r"(my_masks)", self.foreign),
            (r"(runs/eval/[ab])", self.scored),
            (r"(?<=--weight )(runs/\S+\.bin)", self.consolidated),
        ]
        for pattern, make in makers:
            for found in re.findall(pattern, line):
                make(found)

    def toy(self) -> None:
        if not (self.root / "data" / "toy").exists():
            self.run("python -m seglm.dataset.toy --dataset_dir data/toy")

    def toy_videos(self) -> None:
        self.toy()
        if not (self.root / "data" / "toy" / "mevis").exists():
            self.run("python -m seglm.dataset.toy --dataset_dir data/toy --sets all")

    def dataset(self) -> None:
        self.toy()
        for folder in (self.root / "data" / "toy").iterdir():
            link = self.root / "dataset" / folder.name
            if folder.is_dir() and not link.exists():
                link.symlink_to(folder)

    def foreign(self, name: str) -> None:
        """A mask of another program for the first expression of each; the lines that score them count the others as empty."""
        (self.root / name).mkdir(exist_ok=True)
        for spec in ("ReasonSeg|test", "refcoco|unc|testB", "grefcoco|unc|testA"):
            sample = benchmark(spec).open(self.root / "dataset").sample(0)
            Image.new("L", sample.size[::-1]).save(self.root / name / f"{sample.targets[0].key}.png")

    def my_data(self) -> None:
        """docs/own_data.md as it stands: its folders, its JSON."""
        [example, *_] = self.own_jsons()
        for split, name in {"train": "0001", "val": "0101"}.items():
            folder = self.root / "my_data" / "reason_seg" / "ReasonSeg" / split
            folder.mkdir(parents=True, exist_ok=True)
            shade = np.full((120, 160, 3), int(name), np.uint8)
            Image.fromarray(shade).save(folder / f"{name}.jpg")
            (folder / f"{name}.json").write_text(json.dumps(json.loads(example.replace("0001", name))))

    def my_videos(self) -> None:
        """The same page's videos: two things that change places with the background, in each frame that its JSON names."""
        [_, example, *_] = self.own_jsons()
        home = self.root / "my_videos" / "DAVIS17"
        for split, shade in {"train": 1, "valid": 101}.items():
            meta = home / "meta_expressions" / split / "meta_expressions.json"
            meta.parent.mkdir(parents=True, exist_ok=True)
            meta.write_text(example)
            for video, about in json.loads(example)["videos"].items():
                for kind, ending in {"JPEGImages": "jpg", "Annotations": "png"}.items():
                    folder = home / split / kind / video
                    folder.mkdir(parents=True, exist_ok=True)
                    for place, name in enumerate(about["frames"], 1):
                        numbers = np.zeros((60, 80), np.uint8)
                        numbers[10 * place : 10 * place + 20, :30], numbers[10:20, 40:] = 1, 2
                        drawn = np.stack([numbers * 100 + shade] * 3, axis=2) if ending == "jpg" else numbers
                        Image.fromarray(drawn).save(folder / f"{name}.{ending}")

    def own_jsons(self) -> list[str]:
        """What docs/own_data.md prints, of a picture, of a folder of videos, and in Sa2VA's layout."""
        text = (self.root / "docs" / "own_data.md").read_text(encoding="utf-8")
        return re.findall(r"^```json\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)

    def toy_journey(self) -> None:
        """What `bash run_train.sh` leaves, as far as a later command reads it; trained for a moment."""
        if not (self.root / "runs" / "lisa_tiny" / "merged").exists():
            self.toy()
            flags = "--dataset_dir data/toy --epochs 1 --steps_per_epoch 4 --no_eval --overwrite"
            self.run(f"python train_ds.py --recipe lisa_tiny --exp_name lisa_tiny {flags}")
            merge = "python merge_lora_weights_and_save_hf_model.py --weight runs/lisa_tiny/portable"
            self.run(f"{merge} --save_path runs/lisa_tiny/merged")

    def my_system(self) -> None:
        text = (self.root / "docs" / "adding_a_system.md").read_text(encoding="utf-8")
        first = re.search(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        assert first is not None
        (self.root / "model" / "systems" / "my_system.py").write_text(first[1])

    def base(self) -> None:
        weights = self.root / "checkpoints" / "LLaVA-Lightning-7B-v1-1"
        weights.parent.mkdir(exist_ok=True)
        if not weights.exists():
            weights.symlink_to(self.root / "bases" / "llava")

    def trained(self, name: str) -> None:
        if not (self.root / "runs" / name / "portable").exists():
            self.toy()
            recipe = STANDS_FOR[name]
            self.run(
                f"python train_ds.py --recipe {recipe} --dataset_dir data/toy --exp_name {name} --no_eval"
            )

    def merged(self, name: str) -> None:
        if not (self.root / "merged" / name).exists():
            self.trained(name)
            script = "merge_lora_weights_and_save_hf_model.py"
            self.run(f"python {script} --weight runs/{name}/portable --save_path merged/{name}")

    def scored(self, folder: str) -> None:
        if not (self.root / folder).exists():
            self.merged("lisa-7b")
            flags = f"--dataset_dir data/toy --val_dataset 'ReasonSeg|val' --out {folder}.all"
            self.run(f"python -m seglm.evaluation.run --version merged/lisa-7b {flags}")
            [made] = (self.root / f"{folder}.all").iterdir()
            made.rename(self.root / folder)

    def consolidated(self, file: str) -> None:
        if not (self.root / file).exists():
            place = Path(file).parent / "ckpt_model"
            self.run(f"cd {place} && python zero_to_fp32.py . ../{Path(file).name}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("as printed"))


@pytest.mark.slow
def test_the_commands_have_no_network(place: Place) -> None:
    program = "import urllib.request as r; r.urlopen('https://huggingface.co', timeout=5)"
    with pytest.raises(AssertionError, match="this test has no network, and huggingface.co was asked for"):
        place.run(f'python -c "{program}"')


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_answer_needs_no_deepspeed(place: Place, tmp_path: Path) -> None:
    """What is installed here, without it: where it cannot be installed, a merged model is used all the same."""
    for entry in Path(pytest.__file__).parents[1].iterdir():
        if not entry.name.startswith(("deepspeed", "__editable__")) and entry.suffix != ".pth":
            (tmp_path / entry.name).symlink_to(entry)
    place.merged("lisa-7b")
    line = f"PYTHONPATH=$PYTHONPATH:{shlex.quote(str(tmp_path))} python -S"
    with pytest.raises(AssertionError, match="No module named 'deepspeed'"):
        place.run(f"{line} -c 'import deepspeed'")
    question = "--image imgs/toy_ring.png --prompt 'Please segment the ring in this image.'"
    assert "text_output" in place.run(f"{line} chat.py --version merged/lisa-7b {question}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("line", RUN)
def test_a_printed_command_runs(place: Place, line: str) -> None:
    place.prepare(line)
    place.run(line)
