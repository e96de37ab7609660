"""One process group for the in-process tests of a module, taken down afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from seglm.utils import dist


@pytest.fixture(scope="module")
def alone() -> Iterator[dist.World]:
    yield dist.start()
    dist.stop()
