"""Two guards of a long run: one speaks when a step hangs, one stops a run that learns nothing."""

from __future__ import annotations

import logging
import statistics
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from seglm.utils import dist

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
REMEMBERED = 50  # steps whose durations make the median
BEYOND_DECAY, ROUNDING = 1.1, 2e-7
"""how much more than weight decay takes off a group has to move, and what float32 may add to that; a gradient moves it many times
as much"""
SUSPECTS = (
    "the learning rate is 0 (a schedule that is over, or warm-up longer than the run)",
    "no gradient reaches the group (no sample of the data asks for it: no masks, no text answers; or a detached tensor)",
    "every step was skipped (fp16 overflow: look for skipped steps in the log)",
    "the weights given as --version are deltas or an adapter and not a full model",
    "versions of torch, transformers, peft or deepspeed other than those in requirements.txt",
)


class Watchdog:
    """A thread that tells where this rank is when a step takes much longer than usual.

    Steps are in lockstep, so when one rank hangs every rank's watchdog speaks, each of its own place: the odd one out is
    the cause.
    """

    def __init__(
        self, where: Callable[[], str], *, factor: float = 10.0, least: float = 60.0, poll: float = 1.0
    ) -> None:
        """where: the phase this rank is in. A step is late after max(`least` seconds, `factor` x the median step)."""
        self._where, self._factor, self._least, self._poll = where, factor, least, poll
        self._durations: deque[float] = deque(maxlen=REMEMBERED)
        self._started: float | None = None
        self._reported = False
        self._main = threading.get_ident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def step_begins(self) -> None:
        self._started, self._reported = time.monotonic(), False

    def step_ends(self) -> None:
        if self._started is not None:
            self._durations.append(time.monotonic() - self._started)
        self._started = None

    def limit(self) -> float:
        """Seconds after which a step is late; the first steps warm up and are not judged."""
        if len(self._durations) < 5:
            return float("inf")
        return max(self._least, self._factor * statistics.median(self._durations))

    def _watch(self) -> None:
        while not self._over.wait(self._poll):
            started = self._started
            if started is None or self._reported or time.monotonic() - started < self.limit():
                continue
            self._reported = True
            frame = sys._current_frames().get(self._main)
            stack = "".join(traceback.format_stack(frame)[-6:]) if frame else ""
            log.warning(
                "rank %d hangs since %.0f s (usual: %.1f s) in %s\n%s",
                dist.world().rank,
                time.monotonic() - started,
                statistics.median(self._durations),
                self._where(),
                stack,
            )


class Tripwire:
    """Compares trained weights with what they were: a group that has not moved, or by weight decay alone, stops the run."""

    def __init__(self, shards: Mapping[str, Tensor], group_of: Callable[[str], str]) -> None:
        """shards: this rank's part of each trained weight, by name; copied to the host. group_of: name -> group."""
        self._before = {name: tensor.to("cpu", copy=True) for name, tensor in shards.items()}
        self._group_of = group_of

    def check(
        self, shards: Mapping[str, Tensor], *, step: int, decayed: Callable[[str], float] = lambda name: 0.0
    ) -> dict[str, float]:
        """|change| / |weight| of each group, over all ranks; it is logged as well.

        decayed: the share of a weight, by its name, that weight decay has taken off.
        Raises RuntimeError with a list of suspects if a group has not changed.
        """
        groups = sorted({self._group_of(name) for name in self._before})
        sums = {group: [0.0, 0.0] for group in groups}
        least = dict.fromkeys(groups, 0.0)
        for name, before in self._before.items():
            now, pair = shards[name].cpu(), sums[self._group_of(name)]
            pair[0] += float((now - before).double().square().sum())
            pair[1] += float(before.double().square().sum())
            if share := decayed(name):
                least[self._group_of(name)] = BEYOND_DECAY * share + ROUNDING
        flat = dist.all_sum([value for group in groups for value in sums[group]])
        ratios = {
            group: (flat[2 * i] / flat[2 * i + 1]) ** 0.5 if flat[2 * i + 1] else float(flat[2 * i] > 0)
            for i, group in enumerate(groups)
        }
        dead = [group for group, ratio in ratios.items() if ratio <= least[group]]
        if dead:
            listed = "\n".join(f"  - {suspect}" for suspect in SUSPECTS)
            but = ", but for weight decay" if any(least.values()) else ""
            raise RuntimeError(
                f"after {step} steps these weights have not changed{but}: {', '.join(dead)}. Suspects:\n{listed}"
            )
        said = ", ".join(f"{group} {ratio:.1e}" for group, ratio in ratios.items())
        log.info("weights have moved by (|change| / |weight| after %d steps): %s", step, said)
        return ratios
