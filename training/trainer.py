"""The training loop: batches in, steps, reports, checkpoints, validation. It knows nothing of what is learned."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from math import isfinite, nan
from signal import SIGTERM, Signals
from typing import TYPE_CHECKING, Any

from seglm.training import engine_state, saves
from seglm.training.curve import CsvTable, Row, TensorBoard, draw
from seglm.training.engine import Engine, Step, not_finite
from seglm.training.plan import Hooks, Plan
from seglm.training.run_folder import RunFolder
from seglm.training.sampler import Feed, SamplerState
from seglm.training.stop import Stopped, StopRequest
from seglm.training.watch import Tripwire, Watchdog
from seglm.utils import dist, rng
from seglm.utils.atomic import full_disk
from seglm.utils.portable import refuse_not_finite, save_portable, step_of

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


class Trainer:
    """One run, from its first step or from where it stopped, to its last."""

    def __init__(self, engine: Engine, feed: Feed[Any], run: RunFolder, plan: Plan, hooks: Hooks) -> None:
        self.engine, self.feed, self.run, self.plan, self.hooks = engine, feed, run, plan, hooks
        self.sampler_state = SamplerState()
        self._metrics = self._scores = CsvTable(run.metrics, until=None)
        self._board: TensorBoard | None = None
        self._stop = StopRequest()
        self._unread: list[Step] = []
        self._since: list[Row] = []
        """what the steps since the last report said, those before a resume included"""
        self._carried = 0
        self._began = self._saved_at = time.monotonic()
        self._waited = 0.0

    # ---- the loop ----------------------------------------------------------------------------------------------------
    def train(self, *, go_on: bool = False) -> Signals | None:
        """Runs to the end of the plan and returns None, or until a signal asks it to stop, saves and returns that signal.

        go_on: start from the run's newest complete checkpoint.
        """
        with self._writing():
            self._begin(go_on)
        # To the very end: a launcher's second signal must not break off the last lines.
        with self._stop:
            done = False
            with suppress(Stopped):
                self._loop()
                done = self.engine.steps >= self.plan.steps and not self._validation_is_due()
            with self._writing():
                return self._end(done)

    def _loop(self) -> None:
        tripwires, total = self._tripwires(), self.plan.steps
        watchdog = Watchdog(lambda: self.engine.phase)
        with watchdog, _progress(self.engine.steps, total) as bar, closing(self._batches(watchdog)) as steps:
            with self._writing():
                self._validate_if_due()
            for batches in steps:
                step = self._step(batches)
                watchdog.step_ends()
                bar.update()
                if tripwire := tripwires.pop(step.number, None):
                    tripwire.check(self.engine.shards(), step=step.number, decayed=self.engine.decayed)
                with self._writing():
                    self.run.describe(self.hooks.manifest)
                    if self.plan.reports(step.number):
                        bar.set_postfix(loss=f"{self.report()['loss']:.4f}")
                    if step.stop or step.save:
                        self.save()
                    if step.stop:
                        return
                    self._validate_if_due()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A write that fails because the disk is full becomes one error that says what is kept and what is needed."""
        try:
            yield
        except Exception as error:
            if why := full_disk(error):
                raise self.run.full(why, trained=self.engine.num_trained) from error
            raise

    def _step(self, batches: list[Any]) -> Step:
        since = (time.monotonic() - self._saved_at) / 60
        # The main process's clock decides; a signal may come to any.
        due = dist.world().is_main and self.plan.saves(self.engine.steps + 1, minutes=since)
        step = self.engine.step(batches, stop=self._stop.asked is not None, save=due)
        self.sampler_state = SamplerState(self.sampler_state.next_sample + self.feed.per_step)
        self._unread.append(step)
        return step

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
        world, step, save = dist.world(), 0, None
        rng.seed(self.plan.seed, stream=world.rank + 1)
        if go_on:
            save = saves.newest(self.run.folder)
            assert save is not None, f"{self.run.folder} has no complete checkpoint; open_run says so first"
            engine_state.load(save, self.engine)
            self.sampler_state, step = self.feed.going_on(save.facts), save.step
            self._since = save.facts.get("unreported", [])
            self._carried = len(self._since)
            seen = self.sampler_state.next_sample
            log.info("going on after step %d, sample %d, from %s", step, seen, save.folder)
            if world.is_main:
                self.run.remove_halves()
                self.run.go_back(step)
            # Not before: a save that does not fit changes nothing.
            self.run.describe(self.hooks.manifest, anew=True)
        dist.barrier()
        self._metrics = CsvTable(self.run.metrics, until=step if world.is_main else None)
        self._scores = CsvTable(self.run.scores, until=step if world.is_main else None)
        if world.is_main:
            self._board = TensorBoard(self.run.folder, first_step=step)
        self._began = self._saved_at = time.monotonic()
        self._waited = 0.0
        if go_on:
            self._keep(save)

    def _end(self, done: bool) -> Signals | None:
        if self._board is not None:
            self._board.close()
            draw(self.run.curve, self._metrics.rows, self._scores.rows)
        said = "done" if done else "stopped"
        log.info("%s after step %d of %d", said, self.engine.steps, self.plan.steps)
        # Another process may have been asked, and not this one.
        return None if done else self._stop.asked or SIGTERM

    def _tripwires(self) -> dict[int, Tripwire]:
        """After which step which weights must have moved: those that wait a while later than the others."""
        waiting, look, behind = self.engine.waiting, self.plan.tripwire, self.plan.tripwire_behind
        later = max(behind, self.engine.settings.decoder_begins)
        due: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, shard in self.engine.shards().items():
            due[look + (later if name in waiting else behind)][name] = shard
        return {
            step: Tripwire(some, self.hooks.group_of)
            for step, some in due.items()
            if look and self.engine.steps < step
        }

    # ---- reports -----------------------------------------------------------------------------------------------------
    def _read(self) -> None:
        """Waits for the numbers of the steps so far; all ranks call.

        Raises FloatingPointError with the samples' keys if a loss is not finite.
        """
        for step in self._unread:
            values = self.engine.read(step)
            if not isfinite(values["loss"]):
                raise FloatingPointError(not_finite(step, "loss"))
            self._since.append(values)
        self._unread = []

    def report(self) -> Row:
        """Writes one row of means over the steps since the last one; all ranks call. Raises as `_read`."""
        last = self._unread[-1]
        self._read()
        since, seconds = self._since, time.monotonic() - self._began
        timed = len(since) - self._carried
        row = {
            "step": self.engine.steps,
            "epoch": self.epoch,
            **{
                name: _mean([values[name] for values in since if name in values])
                for name in dict.fromkeys(name for values in since for name in values)
            },
            "lr": last.lr,
            **({} if last.lr_decoder is None else {"lr_decoder": last.lr_decoder}),
            "grad_norm": self.engine.grad_norm(),
            "seconds": seconds / timed,
            "images_per_second": timed * self.feed.per_step / seconds,
            "waiting": self._waited / seconds,
        }
        self._since, self._carried, self._began, self._waited = [], 0, time.monotonic(), 0.0
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
        self._read()
        self._refuse_not_finite()
        self.engine.phase = f"step {self.engine.steps}: saving"
        # What was not reported yet goes along, so that rows of numbers do not depend on when somebody saves.
        facts = {**self.feed.facts(self.sampler_state), "epoch": self.epoch, "unreported": self._since}
        self._keep(engine_state.save(self.run.folder, self.engine, facts))
        self._saved_at = time.monotonic()

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
        """The row of the best validation so far, the first of equals; known on the main process.

        Where a run goes on with a benchmark of another kind, what was scored before has no such score.
        """
        name = self.plan.best_by
        scored = [row for row in self._scores.rows if isfinite(row.get(name, nan))]
        return max(scored, key=lambda row: row[name], default=None)

    def _validation_is_due(self) -> bool:
        """After each epoch, until its row is written."""
        if self.hooks.validate is None or not self.plan.ends_epoch(self.engine.steps):
            return False
        return bool(dist.from_main(all(row["step"] != self.engine.steps for row in self._scores.rows)))

    def _validate_if_due(self) -> None:
        """A resumed run makes up for a validation that was interrupted."""
        if self._validation_is_due():
            self.validate()

    def validate(self) -> None:
        """Scores the weights as they are; if they are the best, `ckpt_model` and `portable` become theirs."""
        assert self.hooks.validate is not None
        self.engine.phase = f"step {self.engine.steps}: validation"
        with rng.preserved(), self._stop.breaks_off(), self.engine.whole() as module:
            scores = self.hooks.validate(module)
        if self.plan.best_by not in scores:
            raise ValueError(
                f"validation gave {sorted(scores)}, the best state is chosen by {self.plan.best_by!r}"
            )
        before = self.best()
        if dist.from_main(before is None or scores[self.plan.best_by] > before[self.plan.best_by]):
            self._write_portable(saves.newest(self.run.folder) if dist.world().is_main else None, best=True)
        self._record("val", self._scores, {"step": self.engine.steps, "epoch": self.epoch, **scores})
        if dist.world().is_main:
            draw(self.run.curve, self._metrics.rows, self._scores.rows)
        self._began, self._waited = time.monotonic(), 0.0

    def _keep(self, save: saves.Save | None) -> None:
        """What a save leaves beside itself, unless it is there already: all ranks call, the save is the main process's.

        The best, as long as nothing is scored, and one of the last that --keep wants.
        """
        wanted = None
        if save is not None and dist.world().is_main:
            best = self.best() is None and step_of(self.run.portable) != save.step
            wanted = best, self.plan.keep > 0 and step_of(self.run.kept(save.step)) != save.step
        best, last = dist.from_main(wanted)
        if best or last:
            self._write_portable(save, best=best, last=last)

    def _write_portable(self, save: saves.Save | None, *, best: bool, last: bool = False) -> None:
        weights = self.engine.weights()
        if save is not None and dist.world().is_main:
            portable = self.hooks.portable(weights)
            manifest = {**self.hooks.manifest(), "step": save.step, "epoch": self.epoch}
            if best:
                saves.keep_as_best(self.run.folder, save)
                save_portable(self.run.portable, portable, manifest)
            if last:
                save_portable(self.run.kept(save.step), portable, manifest)
                self.run.keep_last(self.plan.keep)
        dist.barrier()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@contextmanager
def _progress(done: int, total: int) -> Iterator[Any]:
    """The main process's bar, on a terminal only."""
    from tqdm import tqdm

    with tqdm(total=total, initial=done, unit="step", disable=None if dist.world().is_main else True) as bar:
        yield bar
