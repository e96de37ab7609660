"""What every test has: no network, and a reason where hardware or weights are missing."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Skips GPU tests without a GPU and weight tests without weights, saying what would be needed."""
    missing = {
        "gpu": None if torch.cuda.is_available() else "needs a CUDA GPU",
        "weights": None
        if os.environ.get("WEIGHTS_ROOT")
        else "needs released weights; set WEIGHTS_ROOT to their folder",
    }
    for item in items:
        for marker, reason in missing.items():
            if reason is not None and item.get_closest_marker(marker) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
