"""Every source of randomness of a process: set, captured for a checkpoint, put back, and kept out of validation's reach.

Data are not drawn from here: a sample is a pure function of (seed, its number). What is left is dropout, initial values,
the points that Sa2VA's losses look at, and the negatives that GLUS' contrast draws.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

STREAMS = 1_000_003  # a prime above any number of ranks: the streams of neighbouring seeds do not meet


def seed(value: int, *, stream: int = 0) -> None:
    """Seeds Python, NumPy and PyTorch (all devices).

    stream: 0 for what must be equal on all ranks (initial values), rank + 1 for what must differ (dropout).
    """
    import torch

    mixed = (value * STREAMS + stream) % 2**32
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def capture() -> dict[str, Any]:
    """All states; plain values and tensors only, so that `torch.load(weights_only=True)` reads them."""
    import torch

    numpy_state: Any = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": {
            **numpy_state,
            "state": {"key": numpy_state["state"]["key"].tolist(), "pos": numpy_state["state"]["pos"]},
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore(state: dict[str, Any]) -> None:
    """Puts back what `capture` gave, in this process's device."""
    import torch

    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    numpy_state = dict(state["numpy"])
    numpy_state["state"] = {
        **numpy_state["state"],
        "key": np.array(numpy_state["state"]["key"], dtype=np.uint32),
    }
    np.random.set_state(numpy_state)
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def preserved() -> Iterator[None]:
    """Whatever is drawn inside leaves no trace: a run is the same with validation and without."""
    state = capture()
    try:
        yield
    finally:
        restore(state)
