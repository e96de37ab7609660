"""An evaluation that was killed goes on where it stopped, and ends with the same files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from seglm.evaluation import run as evaluating
from seglm.evaluation.asking import weights
from seglm.evaluation.asking.benchmark import Benchmark
from seglm.evaluation.asking.evaluate import evaluate_asker
from seglm.evaluation.asking.parts import Parts
from seglm.evaluation.asking.selection import Selection
from seglm.evaluation.run import main as evaluate
from seglm.model.recipe import Recipe
from seglm.model.recipes import recipe as named
from seglm.model.settings import Evaluate
from seglm.utils.answers import Drawn
from seglm.utils.portable import sha256
from seglm.utils.types import Sample
from tests.evaluation.fakes import BENCHMARK, FakeSource, near_the_truth
from tests.house.tree import ROOT


class Killed(BaseException):
    pass


SAMPLES, BATCH = 9, 2
ABOUT = {"weights": "a", "protocol": "generate"}


def recipe() -> Recipe:
    return replace(named("lisa_tiny"), evaluate=Evaluate(batch_size=BATCH))


def run(folder: Path, stop_after: int | None = None, *, samples: int = SAMPLES) -> list[str]:
    """Evaluates until so many batches were asked; returns the keys of the samples that were asked."""
    asked: list[str] = []

    def ask(some: Sequence[Sample]) -> Iterator[Drawn]:
        if stop_after is not None and len(asked) >= stop_after * BATCH:
            raise Killed
        asked.extend(sample.key for sample in some)
        return near_the_truth(some)

    parts = Parts(folder / "parts")
    parts.begin(ABOUT, overwrite=False)
    selection = BENCHMARK.select(FakeSource(samples))
    evaluate_asker(ask, BENCHMARK, selection, recipe(), out_dir=folder, parts=parts)
    parts.remove()
    return asked


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path)
        for path in folder.rglob("[!.]*")
        if path.is_file() and ".parts.done" not in path.parts
    }


@pytest.mark.parametrize("batches", range(5))
def test_what_is_done_is_not_asked_again_and_the_files_are_the_same(tmp_path: Path, batches: int) -> None:
    everything = run(tmp_path / "straight")
    with pytest.raises(Killed):
        run(tmp_path / "killed", batches)
    assert run(tmp_path / "killed") == everything[batches * BATCH :]
    assert content(tmp_path / "killed") == content(tmp_path / "straight")
    assert not (tmp_path / "killed/parts").exists()


def test_half_of_another_evaluation_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, 2)
    parts = Parts(tmp_path / "parts")
    assert parts.begin(ABOUT, overwrite=False) == 2
    with pytest.raises(ValueError, match=r"half of another evaluation \(other weights\); pass --overwrite"):
        parts.begin({**ABOUT, "weights": "b"}, overwrite=False)
    assert parts.begin({**ABOUT, "weights": "b"}, overwrite=True) == 0


def test_weights_are_known_with_what_is_loaded_beside_them(tmp_path: Path) -> None:
    for name in ("base", "other", "tower"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(name.encode())
    (tmp_path / "trained.bin").touch()
    given = SimpleNamespace(
        version=str(tmp_path / "base"), weight=None, vision_tower=None, vision_pretrained=None
    )
    more: dict[str, str] = {"vision_tower": str(tmp_path / "tower"), "weight": str(tmp_path / "trained.bin")}
    lines = [
        {},
        *({name: value} for name, value in more.items()),
        more,
        {**more, "version": str(tmp_path / "other")},
    ]
    known = [weights.fingerprint(SimpleNamespace(**{**vars(given), **line})) for line in lines]  # type: ignore[arg-type]
    assert len({json.dumps(one) for one in known}) == len(lines)
    assert list(known[0]) == ["model.safetensors"]
    merged = SimpleNamespace(**{**vars(given), **more})
    assert weights.named(merged) == f"{tmp_path / 'trained.bin'} on {tmp_path / 'base'}"  # type: ignore[arg-type]


def test_a_batch_that_was_being_written_is_asked_again(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, 2)
    (tmp_path / "parts/4.json.new").write_text("[{")
    assert len(run(tmp_path)) == SAMPLES - 2 * BATCH


@pytest.mark.parametrize("name", ["write_said", "write_report"])
def test_one_that_ends_while_it_writes_its_report_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "straight")

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(f"seglm.evaluation.asking.evaluate.{name}", killed)
        run(tmp_path / "killed")
    assert run(tmp_path / "killed") == []  # nothing is asked again
    assert content(tmp_path / "killed") == content(tmp_path / "straight")


@pytest.mark.slow
def test_kill_nine_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    run(tmp_path / "straight", samples=200)
    line = [sys.executable, "-m", "tests.evaluation.test_parts", str(tmp_path / "killed")]
    done = 0
    for wait in (0.0, 0.02, 0.05, 0.1, 0.2):
        process = subprocess.Popen(line, cwd=Path(__file__).parents[2])
        while process.poll() is None and len(list((tmp_path / "killed/parts").glob("*.json"))) <= done:
            time.sleep(0.001)
        time.sleep(wait)
        process.kill()  # which it may not live to see, if the one before was killed behind its last batch
        assert process.wait() in (0, -signal.SIGKILL)
        done = len(list((tmp_path / "killed/parts").glob("*.json")))
    if (tmp_path / "killed/parts").exists():
        subprocess.run(line, cwd=Path(__file__).parents[2], check=True)
    assert content(tmp_path / "killed") == content(tmp_path / "straight")


def test_a_second_evaluation_into_one_folder_waits_for_the_first(tmp_path: Path) -> None:
    first = Parts(tmp_path / "parts")
    first.begin(ABOUT, overwrite=False)
    script = (
        "import sys; from pathlib import Path; from seglm.evaluation.asking.parts import Parts\n"
        f"Parts(Path(sys.argv[1])).begin({ABOUT!r}, overwrite=len(sys.argv) > 2)"
    )
    second = [sys.executable, "-c", script, str(tmp_path / "parts")]
    for more in ([], ["overwrite"]):
        done = subprocess.run([*second, *more], capture_output=True, text=True, check=False, cwd=ROOT)
        assert f"{tmp_path}: process {os.getpid()} on " in done.stderr and "another --out" in done.stderr
    first.remove()
    assert not list(tmp_path.iterdir())
    subprocess.run(second, check=True, cwd=ROOT)


def test_an_evaluation_that_is_stopped_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("seglm.evaluation.run._run", stopped)
    line = ["--version", "a", "--dataset_dir", "b", "--val_dataset", "ReasonSeg|val", "--out", str(tmp_path)]
    for kept, said in (
        ("", "nothing was finished"),
        ("a_val/parts", f"goes on from what is in {tmp_path / 'a_val'}"),
    ):
        (tmp_path / kept).mkdir(parents=True, exist_ok=True)
        with pytest.raises(SystemExit):
            evaluate(line)
        assert said in capsys.readouterr().err


if __name__ == "__main__":
    print(json.dumps(len(run(Path(sys.argv[1]), 200, samples=200))))


def test_of_several_benchmarks_the_ones_that_are_done_are_not_in_the_way_of_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is killed in the second gives the same command again; nothing of the first is asked anew."""
    asked: list[str] = []
    dies = [True]

    def ask(some: Sequence[Sample]) -> Iterator[Drawn]:
        if dies[0] and len(asked) >= SAMPLES:
            raise Killed
        asked.extend(sample.key for sample in some)
        return near_the_truth(some)

    @dataclass(frozen=True)
    class Fake(Benchmark):
        def open(self, dataset_dir: Path | str) -> Selection:
            return self.select(FakeSource(SAMPLES))

    model = SimpleNamespace(recipe=recipe(), backbone=None)
    fake = {one.name: getattr(BENCHMARK, one.name) for one in fields(BENCHMARK)}
    monkeypatch.setattr(evaluating, "benchmark", lambda spec: Fake(**{**fake, "name": spec}))
    monkeypatch.setattr(evaluating, "_asker", lambda *_: ask)
    monkeypatch.setattr(evaluating.weights, "leaks", lambda _, *data: [""] * len(data))
    monkeypatch.setattr(evaluating.weights, "opened", lambda *_: (model, model.recipe))
    monkeypatch.setattr(evaluating.weights, "fingerprint", lambda _: {})
    monkeypatch.setattr(evaluating.weights, "named", lambda _: "m")
    line = ["--version", "m", "--dataset_dir", str(tmp_path), "--out", str(tmp_path / "out")]
    line += ["--val_dataset", "first|val,second|val"]
    with pytest.raises(Killed):
        evaluate(line)
    dies[0] = False
    with (
        monkeypatch.context() as corrected,
        pytest.raises(SystemExit, match=r"\(other data\); pass --overwrite"),
    ):
        corrected.setattr(Selection, "fingerprint", lambda _: "annotations that were corrected")
        evaluate(line)
    evaluate(line)
    assert len(asked) == 2 * SAMPLES
    folders = sorted((tmp_path / "out").iterdir())
    assert [folder.name for folder in folders] == ["m_first_val", "m_second_val"]
    assert all((folder / "scores.json").is_file() for folder in folders)
    assert not list((tmp_path / "out").glob("*/*parts*")), "nothing of it is left"
    with pytest.raises(SystemExit, match=r"scores.json is there already; pass --overwrite"):
        evaluate(line)
