"""Micro-batches of one rank, grouped by optimizer step, from a data set that is a pure function of the global sample number.

Step s of a run takes the sample numbers that follow those of step s - 1; inside a step they are dealt out micro-batch by
micro-batch and rank by rank. So k ranks with one micro-batch, one rank with k micro-batches and one big batch hold the same
samples, the order depends on neither workers nor ranks, and going on at any sample costs nothing.

Where a run goes on is therefore one number: `SamplerState`, which each save holds (training/saves.py) and `--resume` puts back.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

log = logging.getLogger(__name__)
B = TypeVar("B")
GRACE = 30  # seconds; what DeepSpeed's launcher also gives before it kills


class Numbered(Protocol):
    """What the loader asks of a data set: sample n for every n >= 0."""

    def __getitem__(self, n: int, /) -> Any: ...


@dataclass(frozen=True)
class SamplerState:
    """Where a run stands in its samples."""

    next_sample: int = 0
    """global number of the first sample that no optimizer step has taken: how many the run has seen, all ranks together"""


@dataclass(frozen=True)
class Feed(Generic[B]):
    """Where batches come from."""

    samples: Numbered
    collate: Callable[[Sequence[Any]], B]
    batch_size: int
    """samples in a micro-batch"""
    accumulation: int = 1
    """micro-batches of a rank in an optimizer step"""
    rank: int = 0
    world_size: int = 1
    workers: int = 0
    """loader processes of this rank"""
    pin_memory: bool = False

    @property
    def per_step(self) -> int:
        """Samples of an optimizer step, all ranks."""
        return self.batch_size * self.accumulation * self.world_size

    def facts(self, state: SamplerState) -> dict[str, int]:
        """What a save keeps of where the run stands."""
        return {"samples": state.next_sample, "per_step": self.per_step}

    def going_on(self, facts: Mapping[str, Any]) -> SamplerState:
        """What `facts` wrote. A step may take another number of samples than before, which is said."""
        before = int(facts.get("per_step", self.per_step))
        if before != self.per_step:
            log.warning(
                "a step takes %d samples now and took %d before the stop, which the learning rate was chosen for; "
                "--grad_accumulation_steps makes up for fewer processes",
                self.per_step,
                before,
            )
        return SamplerState(int(facts["samples"]))

    def numbers(self, first: int) -> list[list[int]]:
        """The sample numbers of this rank's micro-batches in the step that begins at sample `first`."""
        begins = (
            first + (micro * self.world_size + self.rank) * self.batch_size
            for micro in range(self.accumulation)
        )
        return [list(range(begin, begin + self.batch_size)) for begin in begins]

    def steps(self, first: int, count: int) -> Generator[list[B], None, None]:
        """The micro-batches of `count` optimizer steps, the first of which begins at sample `first`."""
        import torch
        from torch.utils.data import DataLoader

        plan = [batch for step in range(count) for batch in self.numbers(first + step * self.per_step)]
        loader: Any = DataLoader(
            self.samples,  # type: ignore[arg-type]
            batch_sampler=plan,
            collate_fn=self.collate,
            num_workers=self.workers,
            worker_init_fn=_start_worker if self.workers else None,
            pin_memory=self.pin_memory and torch.cuda.is_available(),
            # Its own, so that starting a loader draws nothing from the stream that dropout uses.
            generator=torch.Generator().manual_seed(0),
        )
        batches = iter(loader)
        try:
            for _ in range(count):
                yield [next(batches) for _ in range(self.accumulation)]
        finally:
            # Now, and not when the interpreter ends: it would wait for workers that do not end at the first signal.
            if self.workers:
                batches._shutdown_workers()


def _start_worker(index: int) -> None:
    """A launcher that stops a run sends SIGTERM to the whole process tree; the trainer still needs its batches to finish a step.

    So a worker lives a while longer, and then leaves with code 0: any other is an error that PyTorch raises in the trainer.
    Ctrl-C reaches a worker as well, and SLURM's signal: the trainer answers them, and ends its workers.
    """
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE))
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(0))
    torch.set_num_threads(1)
