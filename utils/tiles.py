"""Into how many tiles a picture is cut that a language model is shown finely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from seglm.utils.types import Images, Look, Script

ENOUGH = 0.5  # of a grid's pixels that a picture has to have, where a smaller grid has the same shape


def grid_of(size: tuple[int, int], *, most: int, side: int) -> tuple[int, int]:
    """(rows, columns) of at most `most` tiles of `side` pixels: the grid whose shape is the nearest to the picture's.

    size: (H, W), original pixels. Of two grids of one shape the larger is taken if the picture has half of its pixels. InternVL's
    find_closest_aspect_ratio (magic-research/Sa2VA at d01bf3f, projects/llava_sam2/datasets/utils.py), whose order of grids with
    as many tiles is that of a set; here the one with fewer columns comes first.
    """
    height, width = size
    grids = [
        (rows, columns) for columns, rows in product(range(1, most + 1), repeat=2) if rows * columns <= most
    ]
    best, nearest = (1, 1), float("inf")
    for rows, columns in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        apart = abs(width / height - columns / rows)
        is_large = height * width > ENOUGH * side * side * rows * columns
        if apart < nearest or (apart == nearest and is_large):
            best, nearest = (rows, columns), apart
    return best


def images_in(script: Script) -> Iterator[Images]:
    """Everything that is shown in it."""
    for dialogue in script:
        for turn in dialogue.turns:
            yield from (piece for piece in (*turn.question, *turn.answer) if isinstance(piece, Images))


def views(script: Script, num_seen: int, size: tuple[int, int], *, look: Look, side: int) -> tuple[int, ...]:
    """How many squares the vision tower sees of each of the frames that are shown: more than one of what is shown finely.

    size: (H, W) of the frames, original pixels. side: of the square, pixels.
    """
    fine = {frame for images in images_in(script) if images.fidelity == "fine" for frame in images.frames}
    if not fine or look.tiles == 1:
        return (1,) * num_seen
    count = squares(grid_of(size, most=look.tiles, side=side))
    return tuple(count if frame in fine else 1 for frame in range(num_seen))


def squares(grid: tuple[int, int]) -> int:
    """The tiles, and the whole picture behind them."""
    tiles = grid[0] * grid[1]
    return tiles if tiles == 1 else tiles + 1


def first_rows(counts: Sequence[int]) -> tuple[int, ...]:
    """Where the squares of each frame begin, among those of all frames."""
    return tuple(sum(counts[:frame]) for frame in range(len(counts)))
