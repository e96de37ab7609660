"""The pictures under imgs/ are what the toy world draws."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglm.dataset.toy.examples import EXAMPLES, example
from seglm.dataset.toy.scenes import draw

IMGS = Path(__file__).resolve().parents[2] / "imgs"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_shipped_picture_is_its_scene(name: str) -> None:
    shipped = np.asarray(Image.open(IMGS / f"{name}.png").convert("RGB")).astype(int)
    drawn = draw(example(name)).astype(int)
    assert shipped.shape == drawn.shape
    assert np.abs(shipped - drawn).mean() < 1, "run: python -m seglm.dataset.toy.examples imgs"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_shipped_picture_holds_the_one_thing_it_is_named_after(name: str) -> None:
    """The README asks chat.py for it; a picture without it would make the first try fail."""
    assert [thing.shape for thing in example(name).things].count(name.removeprefix("toy_")) == 1
