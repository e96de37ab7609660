"""What each image patch shows: the truths on which the tiny LLaVA's vision tower is warmed up.

Letters: N images, P patches.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglm.bases.scene_cache import NOBODY, SIDE, DrawnScenes
from seglm.dataset.toy.asking import CELLS
from seglm.dataset.toy.scenes import COLOURS, GRID, MATERIALS, SIZES, Thing
from seglm.dataset.toy.shapes import SHAPES

PATCH = 8  # px of the 64 that the tower sees
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "size": SIZES,
    "material": MATERIALS,
}
BOX_SIDES = (
    "left",
    "right",
    "top",
    "bottom",
)  # sides of the visible box, each as one of CELLS + 1 lines of the spoken grid
MIDDLE_RADIUS = 17.0  # px of the 128 grid, of a medium thing
LEAST_SHARE = 0.2  # of a patch that a thing must fill to be what the patch shows


def patch_truths(batch: DrawnScenes) -> dict[str, NDArray[Any]]:
    """What each patch shows, per head: int64 [N, P], 0 for ground; and as float64 [N, P] its thing's `spread`."""
    side = SIDE // PATCH
    truths = {
        name: np.zeros((len(batch.scenes), side * side), dtype=np.int64)
        for name in (*ATTRIBUTES, *BOX_SIDES, "cell")
    }
    spread = np.zeros(truths["cell"].shape)
    for row, (scene, owners) in enumerate(zip(batch.scenes, batch.owners, strict=True)):
        filled = filled_by(owners, len(scene.things))
        owner = np.where(filled.max(1) >= LEAST_SHARE, filled.argmax(1), NOBODY)
        for i, thing in enumerate(scene.things):
            mine = owner == i
            for name, values in ATTRIBUTES.items():
                truths[name][row, mine] = values.index(getattr(thing, name)) + 1
            rows, columns = np.nonzero(owners == i)
            sides = (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)
            for name, line in zip(BOX_SIDES, sides, strict=True):
                truths[name][row, mine] = round(float(line) * CELLS / GRID) + 1
            column, line = (int(0.5 * (low + high) * CELLS / GRID) for low, high in (sides[:2], sides[2:]))
            truths["cell"][row, mine] = line * CELLS + column + 1
            spread[row, mine] = spread_of(thing)
    return {**truths, "spread": spread}


def spread_of(thing: Thing) -> float:
    """How large a thing is, as a number about 0 that grows as much at every doubling; a change of size is a difference."""
    return float(np.log(thing.radius / MIDDLE_RADIUS))


def filled_by(owners: NDArray[np.uint8], count: int) -> NDArray[np.float64]:
    """Share of each patch that each of `count` things fills: float [P, count]."""
    side, step = SIDE // PATCH, GRID // (SIDE // PATCH)
    tiles = owners.reshape(side, step, side, step).transpose(0, 2, 1, 3).reshape(side * side, -1)
    return np.stack([(tiles == i).mean(1) for i in range(count)], axis=1)
