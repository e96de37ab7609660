"""The one door: how a command ends."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seglm.dataset.faults import fault
from seglm.model.released.errors import WrongNames
from seglm.utils import log as logs
from seglm.utils.command import BY_BROKEN_PIPE, BY_CTRL_C, command
from seglm.utils.command import said as words_of

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "train_ds.py": ["--recipe", "lisa_tinny"],
    "chat.py": ["--version", "/nowhere", "--prompt", "a", "--image", "/nowhere.png"],
    "merge_lora_weights_and_save_hf_model.py": ["--weight", "/nowhere", "--save_path", "/nowhere/out"],
    "-m seglm.model.released.delta": [
        "--base",
        "/nowhere",
        "--delta",
        "/nowhere",
        "--target",
        "/nowhere/out",
    ],
    "-m seglm.dataset.check": ["--dataset", "nothing"],
    "-m seglm.dataset.toy": ["--dataset_dir", str(ROOT)],
    "-m seglm.evaluation.run": [
        "--version",
        "/nowhere",
        "--dataset_dir",
        "/nowhere",
        "--val_dataset",
        "nothing",
    ],
    "-m seglm.evaluation.offline": [
        *("--predictions", "/nowhere", "--dataset_dir", "/nowhere", "--val_dataset", "nothing")
    ],
    "-m seglm.evaluation.baselines": ["--dataset", "nothing"],
    "-m seglm.evaluation.table": ["--out", "/nowhere", "a=/nowhere"],
    "-m seglm.evaluation.league": ["--rows", "nothing"],
    "-m seglm.preflight": ["--recipe", "nothing"],
    "-m seglm.bases.make": ["--threads", "0"],
    "-m seglm.utils.launch": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_a_refusal_with_one_line(name: str, tmp_path: Path) -> None:
    line = [sys.executable, *name.split(), *COMMANDS[name]]
    if name.endswith(".py"):
        line[1] = str(ROOT / name)
    env = {key: value for key, value in os.environ.items() if key != "SEGLM_TRACEBACK"}
    done = subprocess.run(
        line, cwd=tmp_path, env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode in (1, 2), done.stderr
    said = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(said) == 1 and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error, said",
    [
        (ValueError("no such flag"), "error: no such flag"),
        (
            FileNotFoundError(2, "No such file or directory", "a.png"),
            "error: a.png: No such file or directory",
        ),
        (OSError("the disk is full"), "error: the disk is full"),
        (fault("refcoco/3", "a.jpg", "cut short"), "error: refcoco/3: cut short (a.jpg); `python"),
        (WrongNames("no lm_head"), "error: no lm_head"),
        (MemoryError(), "error: out of memory"),
        (MemoryError("step 1: too big"), "error: step 1: too big"),
        (FloatingPointError("step 3: the loss is not finite"), "error: step 3: the loss is not finite"),
        (ImportError("needs flash-attn"), "error: needs flash-attn"),
        (RuntimeError("the probe differs"), "error: the probe differs"),
        (
            KeyError("image"),
            "error: KeyError: 'image'; SegLM did not foresee it: SEGLM_TRACEBACK=1 shows where",
        ),
        (AssertionError("rows"), "error: AssertionError: rows; SegLM did not"),
    ],
)
def test_an_error_is_one_line(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGLM_TRACEBACK", raising=False)

    @command
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        main()
    assert str(ended.value).startswith(said)
    monkeypatch.setenv("SEGLM_TRACEBACK", "1")
    with pytest.raises(type(error)):
        main()


def test_of_several_processes_each_says_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    @command
    def main() -> None:
        raise ValueError("no room")

    with pytest.raises(SystemExit, match="error: process 1 of 2: no room"):
        main()


def test_ctrl_c_says_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def main(kept: str) -> None:
        raise KeyboardInterrupt(kept) if kept else KeyboardInterrupt

    for kept, said in (("runs/a keeps step 5", "runs/a keeps step 5"), ("", "nothing was finished")):
        with pytest.raises(SystemExit) as ended:
            main(kept)
        assert ended.value.code == BY_CTRL_C
        assert capsys.readouterr().err == f"stopped by Ctrl-C; {said}\n"


def test_a_result_and_an_exit_pass_through() -> None:
    assert command(lambda: 3)() == 3
    with pytest.raises(SystemExit, match="7"):
        command(lambda: sys.exit(7))()


def test_a_log_has_what_was_said_before_it_had_a_file_and_the_traceback(tmp_path: Path) -> None:
    @command
    def main() -> None:
        logs.start()
        logging.getLogger("seglm.here").info("early")
        logs.write_to(tmp_path / "log.txt")
        logging.getLogger("seglm.here").info("late")
        raise ValueError("wrong")

    with pytest.raises(SystemExit, match="error: wrong"):
        main()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split()[-1] for line in lines[:2]] == ["early", "late"]
    assert "Traceback" in lines[2] and lines[-1] == "ValueError: wrong"
    assert not logging.getLogger("seglm").handlers


class Broken:
    """A data set whose second sample is malformed."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> int:
        if number:
            raise self.error
        return number


@pytest.mark.parametrize(
    "error, told",
    [
        (
            fault("coco/7", "a.jpg", "the file is empty"),
            "coco/7: the file is empty (a.jpg); `python -m seglm.dataset.check` lists every such sample",
        ),
        (ValueError("coco/7: 131 tokens\nat most 100 fit"), "coco/7: 131 tokens\nat most 100 fit"),
        (MemoryError(), "out of memory"),
        (AssertionError("a slip"), "AssertionError: a slip; SegLM did not foresee it"),
    ],
    ids=["fault", "of two lines", "without words", "ours"],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_loader_process_raises_is_told_as_if_it_were_raised_here(
    error: Exception, told: str, workers: int
) -> None:
    from torch.utils.data import DataLoader

    with pytest.raises(type(error)) as raised:
        list(DataLoader(Broken(error), num_workers=workers))  # type: ignore[arg-type]
    assert words_of(raised.value).partition(": SEGLM_TRACEBACK")[0] == told


@pytest.mark.parametrize("ending", ["", "raise SystemExit(0)", "raise OSError('more')"])
def test_a_command_whose_reader_has_gone_ends_without_a_word(ending: str) -> None:
    """As in `... --list | head -1`, where the end of a pipe closes before everything is written."""
    script = (
        "from seglm.utils.command import command\n"
        "@command\ndef main():\n    for number in range(100_000): print(number)\n    " + ending + "\nmain()"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert started.stdout is not None and started.stderr is not None
    assert started.stdout.readline() == "0\n"
    started.stdout.close()
    assert started.stderr.read() == "" and started.wait(timeout=60) == BY_BROKEN_PIPE


def test_a_pipe_that_breaks_elsewhere_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def main() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(SystemExit, match="error: .*Broken pipe"):
        main()
