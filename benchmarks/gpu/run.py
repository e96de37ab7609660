"""The run: parts one after another, each row on disk as soon as it is known."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gpu.bench import Bench, Part
from benchmarks.gpu.record import Record, Table, spelled
from benchmarks.sizes import Size

CPU_PATIENCE = 10  # on a CPU, where only the tiny size runs and other jobs may run beside, a part has so many times its time
GRACE = 20  # seconds that a row may take beyond its part's time, which keeps it from being begun


def run(
    parts: Sequence[Part], *, out: Path, device: str, size: Size, seconds: float, heading: Mapping[str, str]
) -> Record:
    """The record of all parts. seconds: no row is begun after so many."""
    record = Record(out, heading)
    bench = Bench(device=device, size=size, seconds=seconds, errors=out / "errors.txt")
    for part in parts:
        table = Table(part.name, part.about, part.drawn)
        record.tables.append(table)
        began = time.monotonic()
        table.status = _measured(part, bench, table, record)
        table.seconds = time.monotonic() - began
        bench.clock.forget()
        record.write()
        print(f"{part.name}: {table.status}, {table.seconds:.0f} s", flush=True)
    return record


def _measured(part: Part, bench: Bench, table: Table, record: Record) -> str:
    """Adds the part's rows to its table; returns how it ended."""
    if reason := part.obstacle(bench):
        return f"skipped: {reason}"
    if bench.left <= 0:
        return "skipped: no time left; raise --minutes or choose --parts"
    own = part.seconds if bench.device == "cuda" else part.seconds * CPU_PATIENCE
    until = time.monotonic() + min(own, bench.left)
    rows = part.rows(bench)
    while True:
        try:
            with _alarm(until + GRACE - time.monotonic()):
                row = bench.attempt(part.name, lambda: next(rows, None))
        except TimeoutError:  # it rang behind the measurement, in tidying up
            rows.close()
            return "stopped: its time is over"
        if row is None:
            return "done"
        table.rows.append(row)
        record.write(picture=False)
        print(f"  {row.name}: " + ", ".join(f"{k} {spelled(v)}" for k, v in row.numbers.items()), flush=True)
        if row.name == part.name:  # raised by the part itself, not by one of its rows
            return "failed" if row.failed else "stopped"
        if time.monotonic() > until:
            rows.close()
            return "stopped: its time is over"


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises TimeoutError inside after so many seconds, for instance in a compilation that does not come back."""

    def ring(number: int, frame: object) -> None:
        raise TimeoutError(f"took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
