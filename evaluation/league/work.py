"""The work behind a result: training, merging and scoring, each a process with one thread whose time is counted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Protocol

from seglm.evaluation.asking.benchmark import benchmark
from seglm.evaluation.asking.evaluate import folder_name
from seglm.evaluation.league.entrants import Budget, Entrant, settled, stages
from seglm.evaluation.scores.report import read_scores
from seglm.evaluation.scores.results import Scores
from seglm.training import saves

ROOT = Path(__file__).resolve().parents[2]
TRAIN, MERGE = ROOT / "train_ds.py", ROOT / "merge_lora_weights_and_save_hf_model.py"
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
}
TRIAL = (
    6,
    26,
)  # steps of the two trials; what they share (imports, loading, saving) cancels in their difference


def check_checkout() -> None:
    """Raises FileNotFoundError where the commands of `Processes` are not: a wheel holds the package alone."""
    for script in (TRAIN, MERGE):
        if not script.is_file():
            raise FileNotFoundError(
                f"{script}: is not there, and the league trains with it; run the league from a checkout "
                "(git clone, then `pip install -e .` in it)"
            )


class Work(Protocol):
    """What a league has done for it."""

    def seconds_per_step(self, entrant: Entrant) -> float:
        """CPU seconds of one optimizer step, from a short trial."""

    def play(
        self, entrant: Entrant, *, seed: int, steps: Sequence[int], folder: Path
    ) -> tuple[Mapping[str, Scores], float]:
        """(benchmark as it was asked for -> scores, CPU seconds of the training); everything it leaves lies in `folder`.

        steps: of each stage of the row.
        """

    def stop(self) -> None:
        """Ends what is still running."""


@dataclass(frozen=True)
class Processes:
    """Work done by the project's own commands."""

    budget: Budget
    trials: Path
    """folder for the trials; what is in it is thrown away"""
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    _stopped: Event = field(default_factory=Event)

    def seconds_per_step(self, entrant: Entrant) -> float:
        """See `Work`; the same samples in both trials, so the longer one does what the shorter did and 20 steps more."""
        folder = self.trials / entrant.slug
        spent = []
        for steps in TRIAL:
            shutil.rmtree(folder, ignore_errors=True)
            spent.append(self._train(entrant, seed=0, steps=steps, run=folder / "train"))
        shutil.rmtree(folder, ignore_errors=True)
        return max((spent[1] - spent[0]) / (TRIAL[1] - TRIAL[0]), 1e-3)

    def play(
        self, entrant: Entrant, *, seed: int, steps: Sequence[int], folder: Path
    ) -> tuple[Mapping[str, Scores], float]:
        """See `Work`. Goes on where a killed one stopped: at its newest checkpoint, or behind its merged folder."""
        merged, spent = folder / "merged", 0.0
        trained = stages(entrant)
        runs = [folder / ("train" if one is entrant else one.recipe) for one, _ in trained]
        if not merged.is_dir():
            begun: Path | None = None
            for (one, _), count, run in zip(trained, steps, runs, strict=True):
                spent += self._train(one, seed=seed, steps=count, run=run, begun=begun)
                begun = run / "portable"
            self._call(
                [MERGE, "--weight", runs[-1] / "portable", "--save_path", merged], folder / "merge.txt"
            )
        specs, out = self.budget.benchmarks, folder / "eval"
        self._call(
            ["-m", "seglm.evaluation.run", "--version", merged, "--dataset_dir", self.budget.dataset_dir,
             "--val_dataset", ",".join(specs), "--protocol", "generate", "--out", out, "--overwrite"],
            folder / "eval.txt",
        )  # fmt: skip
        for heavy in (run / name for run in runs for name in ("slots", "ckpt_model", "portable")):
            _remove(heavy)
        return {spec: read_scores(scores_folder(folder, spec)) for spec in specs}, spent

    def stop(self) -> None:
        """See `Work`; nothing new is started, either."""
        with self._lock:
            self._stopped.set()
            for process in self._running:
                process.terminate()

    def _train(
        self, entrant: Entrant, *, seed: int, steps: int, run: Path, begun: Path | None = None
    ) -> float:
        """CPU seconds of a training, which may begin with the weights of another one."""
        run.parent.mkdir(parents=True, exist_ok=True)
        how: list[str | Path] = ["--overwrite"]
        if begun is not None:
            how += ["--init_from", begun]
        if run.is_dir() and saves.newest(run) is not None:
            how = ["--resume", run]
        settings = [*entrant.settings, *settled(self.budget.dataset_dir, seed=seed, steps=steps)]
        spent = self._call(
            [TRAIN, "--recipe", entrant.recipe, "--exp_name", run.name, "--log_base_dir", run.parent, "--no_eval", *how,
             *(f"{path}={text}" for path, text in settings)],
            run.with_suffix(".txt"),
        )  # fmt: skip
        # A training that is asked to stop saves and ends well; what it saved is no result.
        done = saves.newest(run)
        if done is None or done.step < steps:
            raise RuntimeError(
                f"{run} was stopped at step {done.step if done else 0} of {steps}; the same command goes on"
            )
        return spent

    def _call(self, arguments: Sequence[str | Path], said: Path) -> float:
        """CPU seconds of a command. Raises RuntimeError with its last line if it fails; all that it says is in `said`."""
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
        with said.open("wb") as stream:
            with self._lock:
                if self._stopped.is_set():
                    raise RuntimeError(f"{said}: the league was stopped")
                process = subprocess.Popen(
                    [sys.executable, *map(str, arguments)], env=environment, stdout=stream, stderr=stream
                )
                self._running.append(process)
            _, status, usage = os.wait4(process.pid, 0)
            with self._lock:
                self._running.remove(process)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [
                "(it said nothing)"
            ]
            raise RuntimeError(f"{said} ends, with status {process.returncode}: {lines[-1]}")
        return usage.ru_utime + usage.ru_stime


def scores_folder(folder: Path, spec: str) -> Path:
    """Where the files of a benchmark lie in the folder of a result."""
    return folder / "eval" / folder_name("merged", benchmark(spec))


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
