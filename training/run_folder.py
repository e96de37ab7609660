"""The folder of a run: what lies where, and the rule that no run writes into another's by accident.

runs/<exp_name>/
    log.txt metrics.csv scores.csv curve.png events.out.tfevents.*      what happened
    manifest.json                                                       what it was made of; from the first step on
    ckpt_model/    slots/    portable/                                  weights: see saves.py and utils/portable.py
    kept/step<N>/                                                       the last ones, as many as --keep says; like portable/
    eval/<name>/                                                        what --eval_only wrote
    lock                                                                while a run goes on: whose folder this is
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seglm.training import saves
from seglm.training.saves import BYTES_OF_A_SAVE, BYTES_OF_A_WEIGHT
from seglm.utils import atomic, dist, lock
from seglm.utils.folders import nearest
from seglm.utils.manifest import write_manifest
from seglm.utils.portable import MANIFEST

MARK, EVAL, KEPT, LOCK = "log.txt", "eval", "kept", "lock"
NO_RUN = (MARK, EVAL, LOCK)  # a folder with nothing else, as a start that failed leaves it, holds no run
BOARD = "events.out.tfevents."  # TensorBoard's files, which a start that was killed before its first step leaves as well
SHOWN = 5  # other runs that an error names
SAVES = 3  # both slots and the best state, when all are of different steps
UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


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

    def kept(self, step: int) -> Path:
        """The portable checkpoint of a step that --keep keeps."""
        return self.folder / KEPT / f"step{step}"

    def keep_last(self, count: int) -> None:
        """Removes all but the last `count` of them."""
        last = sorted(self._kept_steps())[-count:]
        self._drop_kept(lambda step: step not in last)

    def go_back(self, step: int) -> None:
        """Removes those after a step, of a run that goes on from there and comes to theirs by another way."""
        self._drop_kept(lambda other: other > step)

    def _kept_steps(self) -> dict[int, Path]:
        """Nothing else in `kept`, which users fill as well, is ours."""
        found = {re.fullmatch(r"step(\d+)", path.name): path for path in (self.folder / KEPT).glob("step*")}
        return {int(name[1]): path for name, path in found.items() if name}

    def _drop_kept(self, unwanted: Callable[[int], bool]) -> None:
        for step, path in self._kept_steps().items():
            if unwanted(step):
                # First what makes it a checkpoint, so that half of one is none.
                (path / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(path)

    def remove_halves(self) -> None:
        """Nothing half-written stays, whatever ended the process that wrote it."""
        saves.remove_halves(self.folder)
        halves = [
            path
            for suffix in (atomic.NEW, atomic.OLD)
            for path in (self.folder / KEPT).glob(f"step*{suffix}")
        ]
        kept = {path.with_suffix("") for path in halves}
        for path in (self.metrics, self.scores, self.curve, self.manifest, self.portable, *kept):
            atomic.remove_halves(path)

    def full(self, why: str, *, trained: int) -> RuntimeError:
        """The error for a disk that was found full; half-written files are gone by then."""
        if dist.world().is_main:
            self.remove_halves()
        needed, free = saves.room_for_one(self.folder, trained=trained), _free(self.folder)
        return RuntimeError(
            f"{self.folder}: the disk is full ({why}): a save needs {_size(needed)} beside what is there, {_size(free)} are left "
            f"(less under a quota). Make room; {kept(self)}"
        )

    def describe(self, content: Callable[[], Mapping[str, Any]], *, anew: bool = False) -> None:
        """Says what the run is made of, if nothing does yet; all ranks may call. By this file the folder holds a run.

        So it comes behind the first step. anew: also over what an earlier part of the run said.
        """
        if dist.world().is_main and (anew or not self.manifest.exists()):
            write_manifest(self.manifest, content())

    def evaluation(self, name: str) -> Path:
        """Where an evaluation of this run's weights writes: beside the checkpoints, never over them."""
        return self.folder / EVAL / name.replace("|", "_").replace("/", "_")


def open_run(folder: Path | str, *, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """The folder, made or found, and from now on this process's until it `release`s it or ends; all ranks call.

    Raises ValueError on every rank: for a folder that holds a run and neither flag, for a folder that holds something else, for
    both flags, for `resume` without a complete checkpoint, and for the folder of a run that is still going on.
    """
    run = RunFolder(Path(folder))
    refuse(run, resume=resume, overwrite=overwrite)
    if dist.world().is_main:
        run.folder.mkdir(parents=True, exist_ok=True)
    dist.refuse(lambda: _busy(run, lock.take(run.folder / LOCK)))
    try:
        # Again: another run may have begun, and even ended, since.
        refuse(run, resume=resume, overwrite=overwrite)
    except ValueError:
        release(run)
        raise
    if dist.world().is_main:
        # Last what shows that this is a run, so that one half removed can be overwritten again.
        for entry in sorted(run.folder.iterdir(), key=_shows_a_run) if overwrite else ():
            if entry.name != LOCK:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if not resume:
            for left in (run.log, *run.folder.glob(f"{BOARD}*")):  # by a start that failed
                left.unlink(missing_ok=True)
    dist.barrier()
    return run


def refuse(run: RunFolder, *, resume: bool, overwrite: bool) -> None:
    """The same look at the folder, nothing made or removed: for what comes before a model is built. Raises as `open_run`."""
    dist.refuse(lambda: _problem(run, resume, overwrite))


def release(run: RunFolder) -> None:
    """The folder is free for another run; all ranks may call."""
    if dist.world().is_main:
        lock.free(run.folder / LOCK)


def refuse_full_disk(run: RunFolder, *, trained: int, keep: int = 0) -> None:
    """Raises RuntimeError, on every rank, if the disk has no room for the checkpoints of so many trained parameters.

    keep: portable checkpoints beside the best one.
    """
    wanted = trained * (BYTES_OF_A_SAVE * SAVES + BYTES_OF_A_WEIGHT * (1 + keep))
    free = dist.from_main(_free(run.folder) if dist.world().is_main else 0)
    if free < wanted:
        raise RuntimeError(
            f"{run.folder}: its checkpoints need {_size(wanted)} ({trained:,} trained weights, {SAVES} saves) and the "
            f"disk has {_size(free)} left; make room or choose another --log_base_dir"
        )


def kept(run: RunFolder) -> str:
    """What is left of a run that was broken off, in words."""
    last = saves.newest(run.folder)
    if last is None:
        return f"{run.folder} holds no checkpoint yet"
    return f"{run.folder} keeps step {last.step}; go on with the same command and --resume {run.folder}"


def forget(run: RunFolder) -> None:
    """What a start leaves that failed before its first step: its log and what `eval` holds, which is no run."""
    for entry in run.folder.iterdir() if dist.world().is_main else ():
        if not _is_no_run(entry):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _size(count: float) -> str:
    unit, name = next(((unit, name) for unit, name in UNITS if count >= unit / 10), UNITS[-1])
    return f"{count / unit:.1f} {name}"


def _free(folder: Path) -> int:
    return shutil.disk_usage(nearest(folder)).free


def _shows_a_run(entry: Path) -> bool:
    return entry.name in (MARK, MANIFEST)


def _is_no_run(entry: Path) -> bool:
    return entry.name in NO_RUN or entry.name.startswith(BOARD)


def _busy(run: RunFolder, who: str) -> str | None:
    if not who:
        return None
    return f"{run.folder}: {who} writes this run; wait for its end, stop it, or choose another --exp_name"


def _problem(run: RunFolder, resume: bool, overwrite: bool) -> str | None:
    folder = run.folder
    if busy := _busy(run, lock.holder(folder / LOCK)):
        return busy
    if resume and overwrite:
        return "--resume goes on with a run, --overwrite throws it away; give one of them"
    if resume:
        if not folder.is_dir():
            others = sorted(path.parent.name for path in folder.parent.glob(f"*/{MANIFEST}"))
            there = (
                f"runs in {folder.parent}: {', '.join(others[-SHOWN:])}"
                if others
                else f"{folder.parent} holds no run"
            )
            return f"--resume: {folder} is not there; {there}; to begin a run leave --resume out"
        if saves.newest(folder) is None:
            return f"--resume: {folder} holds no complete checkpoint; start with --overwrite instead, or check --exp_name"
        return None
    place = nearest(folder)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return f"{folder}: {place} is no folder that can be written to; choose another --log_base_dir or --exp_name"
    # A folder with nothing but evaluations, or the log of a start that failed, is no run yet.
    entries = [entry for entry in folder.iterdir() if not _is_no_run(entry)] if folder.is_dir() else []
    if not entries:
        return None
    if not run.manifest.exists() and not run.log.exists():
        return f"{folder} is not empty and holds no run of SegLM; choose another --exp_name"
    if overwrite:
        return None
    if not saves.is_begun(folder):
        return (
            f"{folder} holds a run that saved nothing; replace it (--overwrite) or choose another --exp_name"
        )
    return f"{folder} already holds a run; go on with it (--resume), replace it (--overwrite) or choose another --exp_name"
