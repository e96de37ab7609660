"""A run of the two-term module, as a script: what the tests of the trainer start, kill and start again.

python -m tests.training.train RUN key=value ...     prints one JSON line at the end (main process only)
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import nn

from seglm.training.engine import Engine
from seglm.training.plan import Hooks, Plan, SaveEvery
from seglm.training.run_folder import open_run, release
from seglm.training.sampler import Feed
from seglm.training.trainer import Trainer
from seglm.utils import dist, log, rng
from tests.training.processes import die_at
from tests.training.tiny import Gathering, NumberSet, TwoTerms, WithDecoder, collate

DEFAULTS: Mapping[str, float] = {
    "zero": 1,
    "workers": 0,
    "epochs": 3,
    "per_epoch": 4,
    "accumulation": 1,
    "dropout": 0.3,
    "waits": 0.0,
    "seconds": 0.0,
    "resume": 0,
    "overwrite": 0,
    "images": 8,
    "validate": 1,
    "broken": 0,
    "die_step": 0,
    "die_at": -1,
    "die_after": -1,
    "die_rank": 0,
    "best_at": 0.0,
    "print_freq": 1,
    "save_every": 0,
    "save_minutes": 0.0,
    "keep": 0,
    "signal": signal.SIGTERM,
    "signal_at": -1,
    "signal_in_validation": 0,
}


class Slow(NumberSet):
    """Takes its time, so that a test can interrupt it; or sends the process a signal itself, when it is asked for a sample."""

    def __init__(self, seconds: float, signal_at: int, number: int) -> None:
        self.seconds, self.signal_at, self.number = seconds, signal_at, number

    def __getitem__(self, n: int):  # type: ignore[no-untyped-def]
        time.sleep(self.seconds)
        if n == self.signal_at:
            os.kill(os.getpid(), self.number)
        return super().__getitem__(n)


def score(module: nn.Module, *, best_at: float, number: int, seconds: float) -> Mapping[str, float]:
    """A validation that draws random numbers, as a careless one would; highest where the weights add up to `best_at`.

    number: a signal that comes in the middle of it; 0 for none.
    """
    torch.rand(3)
    time.sleep(seconds)
    if number:
        os.kill(os.getpid(), number)
    assert not module.training
    total = float(sum(p.detach().double().abs().sum() for p in module.parameters()))
    return {"giou": 1 - abs(best_at - total), "total": total}


def _die_while_saving(trainer: type[Trainer], step: int, number: int) -> None:
    """The save of this step is killed at its `number`-th change of the file system."""
    save = trainer.save

    def doomed(self: Trainer) -> None:
        if self.engine.steps == step:
            die_at(number)
        save(self)

    trainer.save = doomed  # type: ignore[method-assign]


def _die_after(seconds: float, engine: Engine) -> None:
    """Kills this process in so many seconds, wherever it is then, and says where."""

    def kill() -> None:
        os.write(1, f"killed in {engine.phase}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()


def main(folder: str, *settings: str) -> None:
    options = {**DEFAULTS} | {
        key: float(value) for key, value in (setting.split("=") for setting in settings if "=" in setting)
    }
    world = dist.start()
    run = open_run(folder, resume=bool(options["resume"]), overwrite=bool(options["overwrite"]))
    log.start(run.log)
    rng.seed(1)
    model = (WithDecoder if options["waits"] else TwoTerms)(dropout=options["dropout"])
    if options["broken"]:
        model.masks.weight.register_hook(lambda gradient: 0 * gradient)
        model.masks.bias.register_hook(lambda gradient: 0 * gradient)
    accumulation, steps = int(options["accumulation"]), int(options["epochs"] * options["per_epoch"])
    batch_size = int(options["images"]) // (accumulation * world.size)
    engine = Engine(
        model,
        Gathering(
            total_steps=steps,
            batch_size=batch_size,
            accumulation=accumulation,
            zero=int(options["zero"]),  # type: ignore[arg-type]
            warmup_steps=2,
            lr=1e-2,
            decoder_waits=options["waits"],
        ),
    )
    feed = Feed(
        Slow(options["seconds"], int(options["signal_at"]), int(options["signal"])),
        collate,
        batch_size,
        accumulation,
        world.rank,
        world.size,
        int(options["workers"]),
    )
    plan = Plan(
        int(options["epochs"]),
        int(options["per_epoch"]),
        seed=1,
        print_freq=int(options["print_freq"]),
        save_every=SaveEvery(int(options["save_every"]), options["save_minutes"]),
        keep=int(options["keep"]),
        tripwire=5,
    )
    if options["die_at"] >= 0:
        _die_while_saving(Trainer, int(options["die_step"]), int(options["die_at"]))
    if options["die_after"] >= 0 and options["die_rank"] == world.rank:
        _die_after(options["die_after"], engine)
    number = int(options["signal_in_validation"])
    validation = partial(score, best_at=options["best_at"], number=number, seconds=20 * options["seconds"])
    trainer = Trainer(engine, feed, run, plan, Hooks(validate=validation if options["validate"] else None))
    stopped = trainer.train(go_on=bool(options["resume"]))
    weights = engine.weights()
    engine.close()
    release(run)
    if world.is_main:
        total = sum(float(tensor.double().sum()) for tensor in weights.values())
        print(
            json.dumps(
                {
                    "finished": stopped is None,
                    "stopped": stopped,
                    "steps": engine.steps,
                    "weights": total,
                    "folder": str(Path(folder)),
                }
            )
        )
    dist.stop()
    log.close()


if __name__ == "__main__":
    # The deepspeed launcher adds --local_rank=N.
    main(*(word for word in sys.argv[1:] if not word.startswith("--")))
