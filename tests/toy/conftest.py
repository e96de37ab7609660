"""One small world on disk for all tests of this folder; nobody writes into it."""

from pathlib import Path

import pytest

from seglm.dataset.toy.write import write
from seglm.dataset.toy.write_sa2va import write_sa2va
from seglm.dataset.toy.write_videos import write_videos
from tests.toy.world import FEW, IMAGES, NUMBERS, SEED


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "data"
    write(folder, images=IMAGES, val_images=FEW, test_images=FEW, seed=SEED)
    return folder


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The videos of the same small world, without its pictures."""
    folder = tmp_path_factory.mktemp("toy videos") / "data"
    write_videos(folder, **NUMBERS)
    return folder


@pytest.fixture(scope="session")
def sa2va(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Sa2VA is trained on beside segmentation, without the rest of the same small world."""
    folder = tmp_path_factory.mktemp("toy sa2va") / "data"
    write_sa2va(folder, **NUMBERS)
    return folder
