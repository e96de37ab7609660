"""How a picture comes into the squares that a vision tower sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fidelity = Literal["full", "pooled", "fine", "moving"]
"""`full`: one token a patch; `pooled`: the mean of a frame's patches as one token; `fine`: in as many tiles as the language model
takes (`Look.tiles`), each with one token a patch, and behind them the whole frame, or as large as it takes it (`Look.fine`);
`moving`: frames that follow each other as one piece of video, where the language model takes one (`Look.depth`), else `full`."""
Grid = tuple[int, int, int]
"""(frames, rows, columns): how the cells lie that a picture, or a piece of video, was cut into"""


@dataclass(frozen=True)
class Look:
    """How a picture comes into the squares that the vision tower sees."""

    fit: Literal["crop", "fill", "cells"] = "crop"
    """`crop`: its middle square, as CLIP's processor has it; `fill`: all of it, whatever its sides; `cells`: all of it in its own
    shape, as a grid of squares that are a token each, more of a large picture than of a small one"""
    tiles: int = 1
    """most tiles of a picture that is shown finely; of one it is the whole picture alone"""
    fine: tuple[int, int] = (1, 1)
    """`cells`: least and most pixels of a picture that is shown finely"""
    full: tuple[int, int] = (1, 1)
    """`cells`: least and most pixels of any other"""
    depth: int = 1
    """`cells`: frames of a piece of video that lie behind each other in one layer of tokens"""
    pace: float = 1.0
    """`cells`: how far a layer of tokens is placed behind the one before it, in time"""


PLAIN = Look()
"""LISA's"""
