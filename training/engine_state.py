"""The engine's state, into a save and out of it, to the bit: trained weights, optimizer, schedule, scaler, RNG of every rank.

Frozen weights are not stored. What is loaded must therefore lack exactly the frozen names, and the frozen weights of the new
process must be those of the old one: both are checked here, because DeepSpeed's non-strict loading checks neither.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seglm.training import saves
from seglm.training.engine import Engine
from seglm.training.saves import Save
from seglm.utils import dist, rng

if TYPE_CHECKING:
    from torch import nn


def save(run: Path, engine: Engine, facts: Mapping[str, Any]) -> Save | None:
    """Writes a save; all ranks call. Returns it on the main process, None elsewhere.

    facts: what the trainer wants back, anything JSON takes.
    Raises OSError on every rank, before one of them writes, if the disk has no room for it.
    """
    import torch

    world = dist.world()
    folder, fits = dist.from_main(_begin(run, engine) if world.is_main else None)
    if not fits:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    step = engine.steps
    engine.deepspeed.save_checkpoint(
        str(folder), tag=saves.tag(step), save_latest=False, exclude_frozen_parameters=True
    )
    torch.save(rng.capture(), folder / f"rng_rank{world.rank}.pt")
    dist.barrier()
    done = None
    if world.is_main:
        own = {
            "world_size": world.size,
            "zero": engine.settings.zero,
            "trained": {name: list(shape) for name, shape in engine.trained.items()},
            "frozen": engine.frozen,
            "precision": engine.settings.precision,
            "waits": bool(engine.waiting),
        }
        done = saves.commit(folder, step=step, facts={**facts, "engine": own}, expected=world.size)
    dist.barrier()
    return done


def _begin(run: Path, engine: Engine) -> tuple[Path, bool]:
    """An empty folder, and whether its disk has room for a save."""
    folder = saves.begin(run)
    return folder, shutil.disk_usage(folder).free >= saves.room_for_one(run, trained=engine.num_trained)


def load(saved: Save, engine: Engine) -> None:
    """Puts a save's state into a fresh engine; all ranks call. Rates are those of this engine's settings.

    At another number of processes the state goes through DeepSpeed's universal checkpoint, and dropout gets new streams.
    Raises ValueError if the save's state does not belong to this engine.
    """
    import torch

    _check(saved, engine)
    world = dist.world()
    if saved.facts["engine"]["world_size"] == world.size:
        _load(engine, saved.folder, saved.tag)
        rng.restore(torch.load(saved.folder / f"rng_rank{world.rank}.pt", weights_only=True))
        return
    root = saved.folder.parent.parent / saves.UNIVERSAL
    if world.is_main:
        _to_universal(saved, root / saved.tag)
    dist.barrier()
    config = engine.deepspeed._config
    config.load_universal_checkpoint = True
    try:
        _load(engine, root, saved.tag)
    finally:
        config.load_universal_checkpoint = False
    rng.seed(saved.step, stream=world.rank + 1)
    dist.barrier()
    if world.is_main:
        shutil.rmtree(root)


def _load(engine: Engine, folder: Path, tag: str) -> None:
    path, _ = engine.deepspeed.load_checkpoint(str(folder), tag=tag, load_module_strict=False)
    if path is None:
        raise RuntimeError(f"DeepSpeed found no state in {folder / tag}")
    # A universal checkpoint gives one tensor to all groups of ZeRO-3, so that a step would count in each of them for all.
    for state in engine.deepspeed.basic_optimizer.state.values():
        if "step" in state:
            state["step"] = state["step"].clone()
    engine.follow_settings()


def _check(saved: Save, engine: Engine) -> None:
    facts = saved.facts["engine"]
    stages = (facts["zero"], engine.settings.zero)
    if (3 in stages) and stages[0] != stages[1]:
        raise ValueError(
            f"{saved.folder} was saved under ZeRO-{stages[0]}, this run has --zero {stages[1]}: DeepSpeed does not convert "
            f"between ZeRO-3 and the others; resume with --zero {stages[0]}, or start anew from the weights with --init_from"
        )
    _same_names(f"{saved.folder}", set(facts["trained"]), set(engine.trained))
    waited, waits = facts.get("waits"), bool(engine.waiting)
    if waited not in (None, waits):
        raise ValueError(
            f"{saved.folder} was saved with optim.decoder_waits {'above' if waited else 'at'} 0, this run has "
            f"optim.decoder_waits={engine.settings.decoder_waits:g}: the optimizer keeps what waits apart, and nothing moves it "
            "over; resume with the setting that the run was started with, or start anew from the weights with --init_from"
        )
    shapes = [n for n, shape in facts["trained"].items() if tuple(shape) != engine.trained[n]]
    if shapes:
        raise ValueError(
            f"{saved.folder}: {shapes[0]} has shape {facts['trained'][shapes[0]]} in the checkpoint and "
            f"{list(engine.trained[shapes[0]])} here (of {len(shapes)} such); was --lora_r changed?"
        )
    if facts["frozen"] != engine.frozen:
        raise ValueError(
            f"{saved.folder} was trained on other frozen weights (fingerprint {facts['frozen']}, here {engine.frozen}): "
            "resume with the same --version, --init_from, --vision_pretrained, --precision and --load_in_*bit"
        )
    _same_names(f"{saved.folder / saved.tag}", _stored(saved), _storable(engine.module))


def _same_names(where: str, stored: set[str], wanted: set[str]) -> None:
    if stored != wanted:
        raise ValueError(
            f"{where} holds other trained weights than this run: missing {sorted(wanted - stored)[:5]}, "
            f"unknown {sorted(stored - wanted)[:5]}; resume with the recipe it was started with"
        )


def _stored(saved: Save) -> set[str]:
    """The names in DeepSpeed's own file."""
    import torch

    path = sorted((saved.folder / saved.tag).glob("*model_states.pt"))[0]
    content = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
    return set(content["module"])


def _storable(module: nn.Module) -> set[str]:
    """The names DeepSpeed writes when it leaves out frozen parameters: trained ones and buffers."""
    return set(module.state_dict()) - {name for name, p in module.named_parameters() if not p.requires_grad}


def _to_universal(saved: Save, target: Path) -> None:
    """DeepSpeed's converter, as a process of its own: it starts workers and prints a page."""
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(parents=True)
    line = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    line += ["--input_folder", str(saved.folder / saved.tag), "--output_folder", str(target)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"could not convert {saved.folder} for another number of processes: {done.stderr[-2000:]}"
        )
