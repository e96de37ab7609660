"""Into how many squares a picture is cut: tiles of what a language model is shown finely, or cells that are a token each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil, floor, sqrt

from seglm.utils.types import Grid, Images, Look, Script

ENOUGH = 0.5  # of a grid's pixels that a picture has to have, where a smaller grid has the same shape
THINNEST = 200  # how often its short side a picture in cells may be long


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
    if look.fit == "cells":
        return tuple(rows * columns for rows, columns in shapes(script, num_seen, size, look=look, side=side))
    fine = _fine(script)
    if not fine or look.tiles == 1:
        return (1,) * num_seen
    count = squares(grid_of(size, most=look.tiles, side=side))
    return tuple(count if frame in fine else 1 for frame in range(num_seen))


def squares(grid: tuple[int, int]) -> int:
    """The tiles, and the whole picture behind them."""
    tiles = grid[0] * grid[1]
    return tiles if tiles == 1 else tiles + 1


def cells_of(size: tuple[int, int], pixels: tuple[int, int], *, side: int) -> tuple[int, int]:
    """(rows, columns) of the cells of `side` pixels that a picture is resized to, in its own shape as nearly as they allow.

    size: (H, W), original pixels. pixels: least and most of the resized picture. As `smart_resize` of transformers' Qwen2-VL
    rounds: to the nearest number of cells, and down or up where that is too much or too little.
    Raises ValueError for a picture that is more than THINNEST times as long as wide.
    """
    height, width = size
    if max(size) > THINNEST * min(size):
        raise ValueError(
            f"a picture of {height} x {width} pixels (H x W) is more than {THINNEST} times as long as wide, which a "
            "language model that sees pictures in their own shape does not take; cut it"
        )
    least, most = pixels
    rows, columns = round(height / side), round(width / side)
    if rows * columns * side**2 > most:
        shrink = sqrt(height * width / most)
        return max(1, floor(height / shrink / side)), max(1, floor(width / shrink / side))
    if rows * columns * side**2 < least:
        grow = sqrt(least / (height * width))
        return ceil(height * grow / side), ceil(width * grow / side)
    return rows, columns


def shapes(
    script: Script, num_seen: int, size: tuple[int, int], *, look: Look, side: int
) -> tuple[tuple[int, int], ...]:
    """(rows, columns) of each of the frames that are shown, in cells; empty for a language model that sees no cells."""
    if look.fit != "cells":
        return ()
    fine = _fine(script)
    return tuple(
        cells_of(size, look.fine if frame in fine else look.full, side=side) for frame in range(num_seen)
    )


def grids(script: Script, shapes: Sequence[tuple[int, int]]) -> tuple[Grid, ...]:
    """Every picture, and every piece of video as a whole, in the order of the frames.

    shapes: rows and columns of each frame. Raises ValueError for a piece of video whose frames do not follow each other, or for a
    frame that is shown in it and otherwise, too: its tokens differ.
    """
    if not shapes:
        return ()
    piece_of: dict[int, tuple[int, ...]] = {}
    for images in images_in(script):
        pieces = [images.frames] if images.fidelity == "moving" else [(frame,) for frame in images.frames]
        for piece in pieces:
            if piece != tuple(range(piece[0], piece[0] + len(piece))):
                raise ValueError(
                    f"frames {piece} are shown as one piece of video; they have to follow each other"
                )
            if other := [frame for frame in piece if piece_of.setdefault(frame, piece) != piece]:
                raise ValueError(
                    f"frame {other[0]} is shown in {piece_of[other[0]]} and in {piece}; show it alone or in one piece of video"
                )
    found: list[Grid] = []
    frame = 0
    while frame < len(shapes):
        length = len(piece_of.get(frame, (frame,)))
        found.append((length, *shapes[frame]))
        frame += length
    return tuple(found)


def _fine(script: Script) -> set[int]:
    """Frames that are shown finely."""
    return {frame for images in images_in(script) if images.fidelity == "fine" for frame in images.frames}


def first_rows(counts: Sequence[int]) -> tuple[int, ...]:
    """Where the squares of each frame begin, among those of all frames."""
    return tuple(sum(counts[:frame]) for frame in range(len(counts)))
