"""Work on many items at a time, in threads or in processes; what comes out is in the order of the items, as from `map`."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from seglm.utils.threads import settle, usable_cores

In = TypeVar("In")
Out = TypeVar("Out")
MOST_THREADS = 16  # more only wait for the disk
MOST_PROCESSES = 8  # that nobody asked for: each holds what the work needs
WORTH_A_PROCESS = 8  # items; fewer are done before another interpreter has started

_work: Callable[[Any], Any] | None = None  # of a process of `in_processes`


def in_threads(work: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """For work that lets other threads run, as decoding and encoding pictures do. A few items are under way at a time.

    An error comes out where its item would have.
    """
    count = min(MOST_THREADS, usable_cores())
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[Future[Out]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_processes(
    work: Callable[[In], Out], items: Sequence[In], *, processes: int | None = None
) -> Iterator[Out]:
    """For work that does not. `work`, items and results can be pickled; each process gets `work` once.

    processes: None takes as many as there are cores and items for. An error comes out where its item would have.
    """
    worth = -(-len(items) // WORTH_A_PROCESS)
    count = min(usable_cores(), MOST_PROCESSES, worth) if processes is None else min(processes, len(items))
    if count <= 1:
        yield from map(work, items)
        return
    settle(count)
    # A fresh interpreter each: a copy of this one could hold locks of threads that it has not.
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_begin, initargs=(work,)
    ) as pool:
        yield from pool.map(_take, items)


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes; the one that was started says so
    _work = work


def _take(item: Any) -> Any:
    assert _work is not None
    return _work(item)
