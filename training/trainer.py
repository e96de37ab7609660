"""The training loop: batches in, steps, reports, checkpoints, validation. It knows nothing of what is learned."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any

from torch import Tensor, nn

from seglm.training import engine_state, saves
from seglm.training.curve import CsvTable, Row, TensorBoard, draw
from seglm.training.engine import Engine, Step, not_finite
from seglm.training.run_folder import RunFolder
from seglm.training.sampler import Feed, SamplerState
from seglm.training.watch import Tripwire, Watchdog
from seglm.utils import dist, rng
from seglm.utils.portable import refuse_not_finite, save_portable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """When what happens, in optimizer steps."""

    epochs: int
    steps_per_epoch: int
    seed: int
    print_freq: int = 10
    """steps between two reports"""
    best_by: str = "giou"
    """the validation score that decides which state is the best; higher is better"""
    tripwire: int = 20
    """after this many steps every group of weights must have moved; 0 does not look"""

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Hooks:
    """What the loop asks of those who know what is learned."""

    validate: Callable[[nn.Module], Mapping[str, float]] | None = None
    """module in eval mode -> scores; every rank calls it and gets the same scores. None: no validation"""
    portable: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    """trained weights by parameter name -> by the name they have in the portable checkpoint"""
    group_of: Callable[[str], str] = lambda name: name.split(".")[0]
    """parameter name -> the group the tripwire judges it with"""
    manifest: Callable[[], Mapping[str, Any]] = dict
    """what the run is made of, for the portable checkpoint"""


class Trainer:
    """One run, from its first step or from where it stopped, to its last."""

    def __init__(self, engine: Engine, feed: Feed[Any], run: RunFolder, plan: Plan, hooks: Hooks) -> None:
        self.engine, self.feed, self.run, self.plan, self.hooks = engine, feed, run, plan, hooks
        self.sampler_state = SamplerState()
        self._metrics = self._scores = CsvTable(run.metrics, until=None)
        self._board: TensorBoard | None = None
        self._pending: list[Step] = []
        self._began = time.monotonic()
        self._waited = 0.0

    # ---- the loop ----------------------------------------------------------------------------------------------------
    def train(self, *, go_on: bool = False) -> bool:
        """Runs to the end of the plan; True if it got there, False if somebody asked it to stop (SIGTERM), then it has saved.

        go_on: start from the run's newest complete checkpoint.
        """
        self._begin(go_on)
        tripwire = self._tripwire()
        with ExitStack() as stack:
            asked = stack.enter_context(_stop_signal())
            watchdog = stack.enter_context(Watchdog(lambda: self.engine.phase))
            bar = stack.enter_context(_progress(self.engine.steps, self.plan.steps))
            self._validate_if_due()
            for batches in stack.enter_context(closing(self._batches(watchdog))):
                step = self.engine.step(batches, stop=bool(asked))
                watchdog.step_ends()
                self.sampler_state = SamplerState(self.sampler_state.next_sample + self.feed.per_step)
                self._pending.append(step)
                bar.update()
                if step.number % self.plan.print_freq == 0:
                    bar.set_postfix(loss=f"{self.report()['loss']:.4f}")
                if tripwire is not None and step.number == self.plan.tripwire:
                    self._check_tripwire(tripwire)
                    tripwire = None
                if step.number % self.plan.steps_per_epoch == 0 or step.stop:
                    self.save()
                if step.stop:
                    break
                self._validate_if_due()
        self._end()
        return self.engine.steps >= self.plan.steps

    def _batches(self, watchdog: Watchdog) -> Generator[list[Any], None, None]:
        """The micro-batches of each step that is left; keeps count of how long the loop waits for them."""
        with closing(
            self.feed.steps(self.sampler_state.next_sample, self.plan.steps - self.engine.steps)
        ) as left:
            while True:
                watchdog.step_begins()
                self.engine.phase = f"step {self.engine.steps + 1}: loading samples from number {self.sampler_state.next_sample}"
                asked_at = time.monotonic()
                batches = next(left, None)
                self._waited += time.monotonic() - asked_at
                if batches is None:
                    return
                yield batches

    # ---- beginning and end -------------------------------------------------------------------------------------------
    def _begin(self, go_on: bool) -> None:
        world, step = dist.world(), 0
        rng.seed(self.plan.seed, stream=world.rank + 1)
        if go_on:
            save = saves.newest(self.run.folder)
            assert save is not None, f"{self.run.folder} has no complete checkpoint; open_run says so first"
            engine_state.load(save, self.engine)
            self.sampler_state, step = SamplerState.of(save.facts), save.step
            log.info(
                "going on after step %d, sample %d, from %s",
                step,
                self.sampler_state.next_sample,
                save.folder,
            )
        dist.barrier()
        self._metrics = CsvTable(self.run.metrics, until=step if world.is_main else None)
        self._scores = CsvTable(self.run.scores, until=step if world.is_main else None)
        if world.is_main:
            self._board = TensorBoard(self.run.folder, first_step=step)
        self._began, self._waited = time.monotonic(), 0.0

    def _end(self) -> None:
        if self._pending:
            self.report()
        if self._board is not None:
            self._board.close()
            draw(self.run.curve, self._metrics.rows, self._scores.rows)
        log.info(
            "%s after step %d of %d",
            "done" if self.engine.steps >= self.plan.steps else "stopped",
            self.engine.steps,
            self.plan.steps,
        )

    def _tripwire(self) -> Tripwire | None:
        if self.engine.steps >= self.plan.tripwire:
            return None
        return Tripwire(self.engine.shards(), self.hooks.group_of)

    def _check_tripwire(self, tripwire: Tripwire) -> None:
        ratios = tripwire.check(self.engine.shards(), step=self.engine.steps)
        said = ", ".join(f"{group} {ratio:.1e}" for group, ratio in ratios.items())
        log.info("weights have moved by (|change| / |weight| after %d steps): %s", self.engine.steps, said)

    # ---- reports -----------------------------------------------------------------------------------------------------
    def report(self) -> Row:
        """Writes one row of means over the steps since the last one; all ranks call.

        Raises FloatingPointError with the samples' keys if a loss is not finite.
        """
        read = [self.engine.read(step) for step in self._pending]
        for step, values in zip(self._pending, read, strict=True):
            if not isfinite(values["loss"]):
                raise FloatingPointError(not_finite(step, "loss"))
        count, seconds = len(read), time.monotonic() - self._began
        names = dict.fromkeys(
            name for values in read for name in ("loss", *self._pending[0].counts) if name in values
        )
        row = {
            "step": self.engine.steps,
            "epoch": self.epoch,
            **{name: _mean([values[name] for values in read if name in values]) for name in names},
            "lr": self._pending[-1].lr,
            "grad_norm": self.engine.grad_norm(),
            "seconds": seconds / count,
            "images_per_second": count * self.feed.per_step / seconds,
            "waiting": self._waited / seconds,
        }
        self._pending, self._began, self._waited = [], time.monotonic(), 0.0
        self._record("train", self._metrics, row)
        return row

    def _record(self, group: str, table: CsvTable, row: Row) -> None:
        if self._board is None:
            return
        table.add(row)
        self._board.add(group, row)
        said = " ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("step", "epoch"))
        log.info("%s step %d/%d epoch %g: %s", group, row["step"], self.plan.steps, row["epoch"], said)

    @property
    def epoch(self) -> int:
        """1 for the first."""
        return (self.engine.steps - 1) // self.plan.steps_per_epoch + 1

    # ---- checkpoints and validation ----------------------------------------------------------------------------------
    def save(self) -> None:
        """A checkpoint of everything; all ranks call. As long as nothing is scored, it is also the best."""
        if self._pending:
            self.report()
        self._refuse_not_finite()
        self.engine.phase = f"step {self.engine.steps}: saving"
        save = engine_state.save(
            self.run.folder, self.engine, {**self.sampler_state.facts(), "epoch": self.epoch}
        )
        if dist.from_main(self.best() is None if dist.world().is_main else None):
            self._keep_as_best(save)

    def _refuse_not_finite(self) -> None:
        """On every rank, if a weight of any rank's part is not finite: none may go on to write."""
        try:
            refuse_not_finite(self.engine.shards(), when=f"after step {self.engine.steps}")
            wrong = None
        except FloatingPointError as error:
            wrong = error
        if dist.all_sum([float(wrong is not None)])[0]:
            raise wrong or FloatingPointError(
                f"after step {self.engine.steps}: weights on another rank are not finite"
            )

    def best(self) -> Row | None:
        """The row of the best validation so far, the first of equals; known on the main process."""
        return max(self._scores.rows, key=lambda row: row[self.plan.best_by], default=None)

    def _validate_if_due(self) -> None:
        """After each epoch; a resumed run makes up for a validation that was interrupted."""
        step = self.engine.steps
        due = step > 0 and step % self.plan.steps_per_epoch == 0 and self.hooks.validate is not None
        if due and dist.from_main(all(row["step"] != step for row in self._scores.rows)):
            self.validate()

    def validate(self) -> None:
        """Scores the weights as they are; if they are the best, `ckpt_model` and `portable` become theirs."""
        assert self.hooks.validate is not None
        self.engine.phase = f"step {self.engine.steps}: validation"
        with rng.preserved(), self.engine.whole() as module:
            scores = self.hooks.validate(module)
        if self.plan.best_by not in scores:
            raise ValueError(
                f"validation gave {sorted(scores)}, the best state is chosen by {self.plan.best_by!r}"
            )
        before = self.best()
        better = before is None or scores[self.plan.best_by] > before[self.plan.best_by]
        if dist.from_main(better):
            self._keep_as_best(saves.newest(self.run.folder) if dist.world().is_main else None)
        self._record("val", self._scores, {"step": self.engine.steps, "epoch": self.epoch, **scores})
        if dist.world().is_main:
            draw(self.run.curve, self._metrics.rows, self._scores.rows)
        self._began, self._waited = time.monotonic(), 0.0

    def _keep_as_best(self, save: saves.Save | None) -> None:
        weights = self.engine.weights()
        if save is not None:
            saves.keep_as_best(self.run.folder, save)
            manifest = {**self.hooks.manifest(), "step": save.step, "epoch": self.epoch}
            save_portable(self.run.portable, self.hooks.portable(weights), manifest)
        dist.barrier()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM or SIGUSR1 (SLURM's --signal) comes; the step under way is finished first."""
    asked: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(number, lambda came, frame: asked.append(came)) for number in numbers]
    try:
        yield asked
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _progress(done: int, total: int) -> Iterator[Any]:
    """The main process's bar, on a terminal only."""
    from tqdm import tqdm

    with tqdm(total=total, initial=done, unit="step", disable=None if dist.world().is_main else True) as bar:
        yield bar
