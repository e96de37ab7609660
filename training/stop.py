"""What a signal asks of a run: once, to save and stop; Ctrl-C a second time, to stop at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from seglm.utils import dist

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""an end of the machine's time (SLURM, Kubernetes), SLURM's --signal, Ctrl-C"""
ECHO = (
    1.0  # seconds; a launcher passes on the Ctrl-C that the terminal has sent to all of its processes already
)


class Stopped(BaseException):
    """Leaves work that a resumed run does again; no Exception, for nobody but the trainer may catch it."""


class StopRequest:
    """Which signal asked the run to stop, while this is entered. Whoever runs looks at `asked` between two steps.

    SIGTERM never counts as the second: DeepSpeed's launcher sends it after whatever it gets itself, and to one process after
    the other.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self._ctrl_c_at: float | None = None
        self._raises = False
        self._before: list[Any] = []

    def __enter__(self) -> StopRequest:
        self._before = [signal.signal(number, self._came) for number in SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in zip(SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    @contextmanager
    def breaks_off(self) -> Iterator[None]:
        """Here a signal does not wait, it raises Stopped."""
        self._raises = True
        try:
            if self.asked is not None:
                raise Stopped
            yield
        finally:
            self._raises = False

    def _came(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT:
            if self._ctrl_c_at is not None and now - self._ctrl_c_at > ECHO:
                raise KeyboardInterrupt
            self._ctrl_c_at = self._ctrl_c_at or now
        if self.asked is None:
            self.asked = signal.Signals(number)
            if dist.world().is_main:
                # Not through a logger, which may be in the middle of a line.
                said = f"\n{self.asked.name}: the step is finished and saved first; Ctrl-C (again) stops at once\n"
                with suppress(OSError):
                    os.write(2, said.encode())
        if self._raises:
            self._raises = (
                False  # a launcher's second signal must not disturb what the first one's exception cleans up
            )
            raise Stopped
