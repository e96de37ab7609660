"""One long training run: AdamW, one warm-up, one cosine, a running average of the weights, resumable.

The learning rate is a function of the progress alone. Progress is counted in steps; if the minutes run out first the rest of the
cosine is passed through faster, so that a run always ends with a small rate.
"""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from seglm.utils.command import BY_SIGNAL

WARM_SHARE = 0.02  # of the run, linear
FINAL_SHARE = 0.02  # of the peak rate, at the end of the cosine
AVERAGE_DECAY = 0.998  # of the running average, per step
CLIP_NORM = 1.0
StepFn = Callable[[int, float], tuple[Tensor, Mapping[str, float]]]


@dataclass(frozen=True)
class RunSettings:
    """How long and how fast."""

    steps: int
    """optimizer steps of the whole run"""
    minutes: float
    """wall-clock limit of the whole run, resumed parts included"""
    lr: float
    """peak learning rate"""
    weight_decay: float = 0.02
    """of matrices; vectors have none"""
    save_every: int = 500
    """steps between two checkpoints"""
    log_every: int = 100
    """steps between two lines of progress"""


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    """steps done"""
    seconds: float = 0.0
    """wall-clock time spent, resumed parts included"""
    cpu_seconds: float = 0.0
    """processor time spent, resumed parts included"""
    share: float = 0.0
    """of the run that is done, 0..1; the schedule's own clock"""


def train(
    module: nn.Module,
    step: StepFn,
    settings: RunSettings,
    *,
    folder: Path,
    name: str,
    saved: Callable[[nn.Module, Progress], None],
) -> Progress:
    """Trains all of `module`; afterwards it holds the averaged weights.

    step: (number of the step, progress 0..1) -> (loss, values to log). saved: called with the averaged weights at
    each checkpoint.
    folder: keeps `<name>.pt` (to go on from) and `<name>.jsonl` (the curve). SIGTERM and Ctrl-C save after the step and leave
    by SystemExit; a second Ctrl-C stops at once.
    """
    average = _Average(module)
    groups = _groups(module, settings.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98), fused=True)
    checkpoint, progress = folder / f"{name}.pt", Progress()
    folder.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        progress = _resume(checkpoint, module, optimizer, average)
        print(f"{name}: goes on at step {progress.step}", flush=True)
    before, cpu_before = time.time() - progress.seconds, time.process_time() - progress.cpu_seconds
    sums: dict[str, tuple[float, int]] = {}
    share = share_at(progress, settings)
    with _asked_to_stop() as asked:
        while share < 1:
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * rate(share)
            loss, values = step(progress.step, share)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), CLIP_NORM)
            optimizer.step()
            average.update(module)
            progress.step += 1
            progress.seconds, progress.cpu_seconds = time.time() - before, time.process_time() - cpu_before
            progress.share = share = max(share, share_at(progress, settings))
            sums = _logged(
                sums, {"loss": float(loss.detach()), **values}, progress, settings, folder / f"{name}.jsonl"
            )
            if progress.step % settings.save_every == 0 or share >= 1:
                _save(checkpoint, module, optimizer, average, progress)
                with average.applied(module):
                    saved(module, progress)
                before, cpu_before = (
                    time.time() - progress.seconds,
                    time.process_time() - progress.cpu_seconds,
                )
            elif asked:
                _save(checkpoint, module, optimizer, average, progress)
                print(f"{name}: saved at step {progress.step}", flush=True)
            if asked:
                raise SystemExit(BY_SIGNAL + asked[0])
    average.write(module)
    return progress


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """The signals that have asked the run to stop since."""
    asked: list[int] = []

    def came(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, came) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def share_at(progress: Progress, settings: RunSettings) -> float:
    """How much of the run is done, 0..1: by steps, or by the minutes left where these would not suffice."""
    by_steps = progress.step / settings.steps
    by_time = progress.seconds / (60 * settings.minutes)
    if progress.step < 50:
        return by_steps
    needed = progress.seconds / progress.step * settings.steps
    return min(1.0, by_time if needed > 60 * settings.minutes else by_steps)


def rate(share: float) -> float:
    """Share of the peak rate at a share of the run."""
    if share < WARM_SHARE:
        return (share + 1e-4) / WARM_SHARE
    cosine = 0.5 + 0.5 * math.cos(math.pi * (share - WARM_SHARE) / (1 - WARM_SHARE))
    return FINAL_SHARE + (1 - FINAL_SHARE) * cosine


class _Average:
    """The running average of a module's parameters, with a start-up correction."""

    def __init__(self, module: nn.Module) -> None:
        self.values = [p.detach().clone() for p in module.parameters()]
        self.count = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.count += 1
        decay = min(AVERAGE_DECAY, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.values, [p.detach() for p in module.parameters()], 1 - decay)

    @torch.no_grad()
    def write(self, module: nn.Module) -> None:
        for parameter, value in zip(module.parameters(), self.values, strict=True):
            parameter.copy_(value)

    def applied(self, module: nn.Module) -> "_Applied":
        return _Applied(self, module)


class _Applied:
    """While open, the module holds the averaged weights."""

    def __init__(self, average: _Average, module: nn.Module) -> None:
        self.average, self.module = average, module

    def __enter__(self) -> None:
        self.own = [p.detach().clone() for p in self.module.parameters()]
        self.average.write(self.module)

    def __exit__(self, *_: object) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.module.parameters(), self.own, strict=True):
                parameter.copy_(value)


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in module.parameters() if p.ndim >= 2]
    vectors = [p for p in module.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _logged(
    sums: dict[str, tuple[float, int]],
    values: Mapping[str, float],
    progress: Progress,
    settings: RunSettings,
    path: Path,
) -> dict[str, tuple[float, int]]:
    """Adds to the running sums; at the end of an interval writes the mean of each value over the steps that had it."""
    for key, value in values.items():
        total, count = sums.get(key, (0.0, 0))
        sums[key] = total + value, count + 1
    if progress.step % settings.log_every:
        return sums
    line = {"step": progress.step, "minutes": round(progress.seconds / 60, 2)}
    line |= {key: round(total / count, 4) for key, (total, count) in sorted(sums.items())}
    with path.open("a", encoding="ascii") as stream:
        stream.write(json.dumps(line) + "\n")
    print(path.stem, line, flush=True)
    return {}


def _save(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, average: _Average, progress: Progress
) -> None:
    state: dict[str, object] = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.values,
    }
    state |= {"count": average.count, "progress": vars(progress)}
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _resume(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, average: _Average) -> Progress:
    state = torch.load(path, weights_only=True)
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    average.values, average.count = state["average"], state["count"]
    return Progress(**state["progress"])
