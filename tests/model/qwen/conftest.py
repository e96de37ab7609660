"""What the tests of Qwen-VL share: each runs for both generations."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_qwen import KINDS, write


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen-VL as transformers writes it."""
    return write(tmp_path_factory.mktemp("bases") / kind, kind)
