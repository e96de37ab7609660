"""The folder of a run: what lies where, and the rule that no run writes into another's by accident.

runs/<exp_name>/
    log.txt metrics.csv scores.csv curve.png events.out.tfevents.*      what happened
    manifest.json                                                       what it was made of
    ckpt_model/    slots/    portable/                                  weights: see saves.py and utils/portable.py
    eval/<name>/                                                        what --eval_only wrote
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from seglm.training import saves
from seglm.utils import dist

MARK = "log.txt"


@dataclass(frozen=True)
class RunFolder:
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / MARK

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"

    @property
    def scores(self) -> Path:
        return self.folder / "scores.csv"

    @property
    def curve(self) -> Path:
        return self.folder / "curve.png"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def portable(self) -> Path:
        return self.folder / "portable"

    def evaluation(self, name: str) -> Path:
        """Where an evaluation of this run's weights writes: beside the checkpoints, never over them."""
        return self.folder / "eval" / name.replace("|", "_").replace("/", "_")


def open_run(folder: Path | str, *, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """The folder, made or found; all ranks call.

    Raises ValueError on every rank: for a folder that holds a run and neither flag, for a folder that holds something else, for
    both flags, and for `resume` without a complete checkpoint.
    """
    run = RunFolder(Path(folder))
    problem = dist.from_main(_problem(run, resume, overwrite) if dist.world().is_main else None)
    if problem:
        raise ValueError(problem)
    if dist.world().is_main:
        if overwrite and run.folder.exists():
            shutil.rmtree(run.folder)
        run.folder.mkdir(parents=True, exist_ok=True)
    dist.barrier()
    return run


def _problem(run: RunFolder, resume: bool, overwrite: bool) -> str | None:
    folder = run.folder
    if resume and overwrite:
        return "--resume goes on with a run, --overwrite throws it away; give one of them"
    if resume:
        if saves.newest(folder) is None:
            return f"--resume: {folder} holds no complete checkpoint; leave out --resume to start, or check --exp_name"
        return None
    # A folder with nothing but evaluations is no run yet.
    others = [entry for entry in folder.iterdir() if entry.name != "eval"] if folder.is_dir() else []
    if not others:
        return None
    if not run.log.exists():
        return f"{folder} is not empty and holds no run of SegLM; choose another --exp_name"
    if overwrite:
        return None
    return f"{folder} already holds a run; go on with it (--resume), replace it (--overwrite) or choose another --exp_name"
