"""`python -m seglm.dataset.toy.examples imgs`: the two pictures that ship with the code, for a first try of chat.py."""

import sys
from pathlib import Path

from PIL import Image

from seglm.dataset.toy.scenes import Scene, draw, make_scene

EXAMPLES = {"toy_star": 9_000_024, "toy_ring": 9_000_078}
"""file name -> scene seed of the test split; no pool of a written world uses these numbers under world seed 0"""
SIDE = 256  # pixels; larger than the training pictures, for the eye


def example(name: str) -> Scene:
    """The scene of an example picture."""
    return make_scene(EXAMPLES[name], size=SIDE, split="test")


def write_examples(folder: Path) -> None:
    """Write NAME.png for each example."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in EXAMPLES:
        Image.fromarray(draw(example(name))).save(folder / f"{name}.png")


if __name__ == "__main__":
    write_examples(Path(sys.argv[1] if len(sys.argv) > 1 else "imgs"))
