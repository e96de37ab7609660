"""Loading a large library."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Inside, Python collects no garbage: transformers makes a million objects and drops none, and looking through them again and
    again was a sixth of the CPU time until a model answered.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
