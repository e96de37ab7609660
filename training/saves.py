"""Where a run keeps what it needs to go on: two saves written in turn, and `ckpt_model`, which always holds the best state.

    runs/<exp_name>/slots/a  slots/b     DeepSpeed's sharded files, one state file and one RNG file a rank, COMPLETE
    runs/<exp_name>/ckpt_model/          latest, zero_to_fp32.py, global_step<n>/: the best state so far

A save counts only when COMPLETE is there, which is written last and names every file with its size. The folder that is written
is never that of the newest complete save, so a kill at any moment leaves that one as it was. `ckpt_model` shares files with the
saves by hard links; a folder is emptied, not overwritten, so what `ckpt_model` holds survives. For the main process only.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seglm.utils import atomic
from seglm.utils.atomic import sync_folder, sync_tree, write_atomic

NAMES = ("a", "b")
COMPLETE, SCRIPT, LATEST, UNIVERSAL = "COMPLETE", "zero_to_fp32.py", "latest", "ckpt_universal"
BYTES_OF_A_WEIGHT = 4  # float32
BYTES_OF_A_SAVE = (
    4 * BYTES_OF_A_WEIGHT
)  # of a trained weight: itself, DeepSpeed's copy of it, AdamW's two moments


@dataclass(frozen=True)
class Save:
    """A complete save."""

    folder: Path
    step: int
    facts: dict[str, Any]
    """what the trainer said when it was saved"""
    size: int
    """bytes"""

    @property
    def tag(self) -> str:
        """DeepSpeed's name for the state."""
        return tag(self.step)


def tag(step: int) -> str:
    return f"global_step{step}"


def newest(run: Path) -> Save | None:
    """The complete save of the highest step, or None.

    Raises RuntimeError if a complete save has lost a file since.
    """
    found = [save for save in (_read(run / "slots" / name) for name in NAMES) if save is not None]
    return max(found, key=lambda save: save.step, default=None)


def is_begun(run: Path) -> bool:
    """Whether anything was ever saved, be it whole or not any more."""
    return any((run / "slots").glob(f"*/{COMPLETE}"))


def room_for_one(run: Path, *, trained: int) -> int:
    """Bytes that the next save of so many trained weights will take: like the last one, or what its weights take alone."""
    last = newest(run)
    return max(trained * BYTES_OF_A_SAVE, last.size if last is not None else 0)


def begin(run: Path) -> Path:
    """Empties the folder that does not hold the newest save and returns it, so that it takes no room beside the new one."""
    last = newest(run)
    folder = next(run / "slots" / name for name in NAMES if last is None or last.folder.name != name)
    # The marker goes first: a half-emptied save must not count.
    (folder / COMPLETE).unlink(missing_ok=True)
    if folder.exists():
        sync_folder(folder)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def remove_halves(run: Path) -> None:
    """What a save left that was killed or found the disk full."""
    for folder in (run / "slots" / name for name in NAMES):
        if not (folder / COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
    model = run / "ckpt_model"
    for path in (model / SCRIPT, model / LATEST, *model.glob("global_step*")):
        atomic.remove_halves(path.with_name(path.name.removesuffix(atomic.NEW)))
    shutil.rmtree(run / UNIVERSAL, ignore_errors=True)


def commit(folder: Path, *, step: int, facts: dict[str, Any], expected: int) -> Save:
    """Makes what lies in the folder a save that counts.

    expected: files of a rank's own that must be there (RNG of each rank).
    Raises RuntimeError if files of other ranks are missing: the run's folder is then not shared between machines.
    """
    found = len(list(folder.glob("rng_rank*.pt")))
    if found != expected:
        raise RuntimeError(
            f"{folder} holds files of {found} of {expected} processes: all machines must see one folder; "
            "put --log_base_dir on a shared file system"
        )
    sync_tree(folder)
    files = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    write_atomic(
        folder / COMPLETE, json.dumps({"step": step, "facts": facts, "files": files}, indent=1) + "\n"
    )
    return Save(folder, step, facts, sum(files.values()))


def keep_as_best(run: Path, save: Save) -> None:
    """Makes `ckpt_model` hold this save's state: new files first, then `latest`, then the old ones go."""
    model = run / "ckpt_model"
    model.mkdir(exist_ok=True)
    final = model / save.tag
    fresh = model / f"{save.tag}{atomic.NEW}"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(save.folder / save.tag, fresh, copy_function=_link)
    # The same step once more, of a run that went back behind it: `latest` points at no folder in pieces, nor at another state.
    while final.exists() and not _are_one(fresh, final):
        final = final.with_name(f"{final.name}_again")
    if final.exists():
        shutil.rmtree(fresh)
    else:
        os.replace(fresh, final)
    write_atomic(model / SCRIPT, (save.folder / SCRIPT).read_text(encoding="utf-8"))
    write_atomic(model / LATEST, final.name)
    for other in model.glob("global_step*"):
        if other != final:
            shutil.rmtree(other)


def _link(source: str, target: str) -> str:
    """A hard link; a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _are_one(folder: Path, other: Path) -> bool:
    """Whether every file of the first folder is, by a hard link, in the second."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    there = [other / path.relative_to(folder) for path in files]
    return all(path.is_file() and path.samefile(file) for path, file in zip(there, files, strict=True))


def _read(folder: Path) -> Save | None:
    marker = folder / COMPLETE
    if not marker.is_file():
        return None
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        files = dict(content["files"])
        save = Save(folder, int(content["step"]), dict(content["facts"]), sum(files.values()))
    except (ValueError, LookupError, TypeError) as error:
        raise RuntimeError(
            f"{marker} does not tell any more what was saved ({error}); remove {folder}"
        ) from error
    for name, size in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise RuntimeError(
                f"{path} was {size} bytes when {marker} was written and is not any more; remove {folder}"
            )
    return save
