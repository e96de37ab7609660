"""One small world on disk for all tests of this folder; nobody writes into it."""

from pathlib import Path

import pytest

from seglm.dataset.toy.write import write
from tests.toy.world import FEW, IMAGES, SEED


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "data"
    write(folder, images=IMAGES, val_images=FEW, test_images=FEW, seed=SEED)
    return folder
