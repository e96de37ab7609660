"""Work on many pictures: decoding and encoding let other threads run, so that a zip takes as many cores as there are."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
MOST = 16  # threads; more only wait for the disk


def in_threads(work: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """`map`, in order, with a few items under way at a time; an error comes out where its item would have."""
    count = min(MOST, os.cpu_count() or 1)
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
