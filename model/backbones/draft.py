"""A dialogue while it is made into tokens: positions of text and of what is seen, with where each of them stands.

A frame is a square of patches, or several (tiles), or a grid of cells that are a token each (`Look.fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from seglm.utils.types import IGNORE_LABEL, IMAGE_POSITION, Branch, Images, Placed, Pointed, Slot

if TYPE_CHECKING:
    from seglm.model.backbones.encode import DialogueEncoder

TEXT = -1  # frame and patch of a position that holds text


@dataclass(frozen=True)
class Cut:
    """How the frames of a clip were cut into squares."""

    counts: Sequence[int] | None = None
    """squares of each frame; None: one"""
    shapes: Sequence[tuple[int, int]] = ()
    """rows and columns of each frame in cells; empty: one cell"""

    def squares(self, frame: int) -> range:
        """Where they are among all."""
        if self.counts is None:
            return range(frame, frame + 1)
        end = sum(self.counts[: frame + 1])
        return range(end - self.counts[frame], end)

    def shape(self, frame: int) -> tuple[int, int]:
        return self.shapes[frame] if self.shapes else (1, 1)


WHOLE = Cut()
"""one square of each frame"""


@dataclass
class Draft:
    """A branch while it is written: finished positions, and the text that is not tokenised yet."""

    encoder: DialogueEncoder
    cut: Cut
    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    frame: list[int] = field(default_factory=list)
    patch: list[int] = field(default_factory=list)
    slots: list[Placed] = field(default_factory=list)
    text: str = ""
    trained: list[bool] = field(default_factory=list)
    """for each character of `text`"""
    pending: list[tuple[int, int, Slot]] = field(default_factory=list)
    """slots in `text`: first character, one past the last, slot"""
    rotary: list[NDArray[np.int64]] = field(default_factory=list)
    """int64 [3, n] of each run of positions, of an encoder that shows cells"""
    next_place: int = 0
    """behind everything that is placed"""

    def write(self, text: str, *, trained: bool, slot: Slot | None = None) -> None:
        if slot is not None:
            self.pending.append((len(self.text), len(self.text) + len(text), slot))
        self.text += text
        self.trained += [trained] * len(text)

    def show(self, images: Images) -> None:
        """Frames, each between the image tokens."""
        if self.encoder.look.fit == "cells":
            self._cells(images)
        else:
            self._tiles(images)

    def point(self, region: Pointed) -> None:
        """The tokens under a region again, one after the other."""
        self.flush()
        own = self.cut.squares(region.frame)
        if self.encoder.look.fit == "cells":
            cells = [own[cell] for cell in self._under(region.mask, *self.cut.shape(region.frame))]
            self.add_ids([IMAGE_POSITION] * len(cells), frame=cells, patches=[0] * len(cells))
            return
        side = isqrt(self.encoder.patches)
        patches = self._under(region.mask, side, side)
        self.add_ids([IMAGE_POSITION] * len(patches), frame=own[-1], patches=patches)

    def add_ids(
        self,
        ids: list[int],
        *,
        frame: int | list[int],
        patches: Sequence[int] | None = None,
        at: NDArray[np.int64] | None = None,
    ) -> None:
        """Positions that are not trained; at: int64 [3, n], how they lie in time, height and width (None: one by one)."""
        self.ids += ids
        self.labels += [IGNORE_LABEL] * len(ids)
        self.frame += frame if isinstance(frame, list) else [frame] * len(ids)
        self.patch += patches if patches is not None else [TEXT] * len(ids)
        self._turn(len(ids), at)

    def _turn(self, count: int, at: NDArray[np.int64] | None = None) -> None:
        """Places so many positions behind what stands there, for the rotation of queries and keys."""
        if self.encoder.look.fit != "cells" or not count:
            return
        at = np.tile(np.arange(count, dtype=np.int64), (3, 1)) if at is None else at
        self.rotary.append(np.add(at, self.next_place, dtype=np.int64))
        self.next_place += 1 + int(at.max())

    def flush(self) -> None:
        """Tokenises the pending text."""
        if not self.text:
            return
        ids, spans = self.encoder.spoken(self.text, keep=not (self.pending or any(self.trained)))
        self._place(ids, spans)
        trained = [self.trained[start] for start, _ in spans]
        self.ids += ids
        self.labels += [number if train else IGNORE_LABEL for number, train in zip(ids, trained, strict=True)]
        self.frame += [TEXT] * len(ids)
        self.patch += [TEXT] * len(ids)
        self._turn(len(ids))
        self.text, self.trained, self.pending = "", [], []

    def _place(self, ids: list[int], spans: list[tuple[int, int]]) -> None:
        """Records each pending slot at the token whose characters (with the swallowed spaces) hold the slot's own."""
        offset = len(self.ids)
        for start, end, slot in self.pending:
            number = self.encoder.token_id(slot.token)
            held = [
                n
                for n, (left, right) in enumerate(spans)
                if left <= start and end <= right and ids[n] == number
            ]
            if len(held) != 1:
                raise ValueError(
                    f"slot {slot.token!r} at characters {start} to {end} became {len(held)} tokens in {self.text!r}"
                )
            word_id = self.encoder.spoken(slot.word, keep=False)[0][0] if slot.word else 0
            self.slots.append(Placed(slot, offset + held[0], word_id))

    def _tiles(self, images: Images) -> None:
        """Every frame between the image tokens; the texts before and after it are tokenised apart, as in LISA."""
        before, after = self.encoder.image_tokens or ("", "")
        count = self.encoder.patches
        # A pooled frame is one position; patch P is the mean of the frame's P patches.
        patches = range(count, count + 1) if images.fidelity == "pooled" else range(count)
        for frame in images.frames:
            self.write(before, trained=False)
            self.flush()
            own = self.cut.squares(frame)
            # The last of a frame's squares is the whole of it.
            for square in own if images.fidelity == "fine" else own[-1:]:
                self.add_ids([IMAGE_POSITION] * len(patches), frame=square, patches=patches)
            self.write(after, trained=False)

    def _cells(self, images: Images) -> None:
        """Every frame, or a piece of video as a whole, a token a cell; of frames in one layer the first's cells stand for all."""
        if images.fidelity == "pooled":
            raise ValueError(
                "a frame is shown pooled; a language model that sees cells takes every token of it"
            )
        before, after = self.encoder.image_tokens or ("", "")
        pieces = [images.frames] if images.fidelity == "moving" else [(frame,) for frame in images.frames]
        for piece in pieces:
            self.write(before, trained=False)
            self.flush()
            layers = piece[:: self.encoder.look.depth]
            cells = [cell for frame in layers for cell in self.cut.squares(frame)]
            rows, columns = self.cut.shape(piece[0])
            at = np.indices((len(layers), rows, columns)).reshape(3, -1).astype(np.int64)
            at[0] = at[0] * self.encoder.look.pace
            self.add_ids([IMAGE_POSITION] * len(cells), frame=cells, patches=[0] * len(cells), at=at)
            self.write(after, trained=False)

    def _under(self, mask: NDArray[np.bool_], num_rows: int, num_columns: int) -> list[int]:
        """Patches of the whole frame under a mask bool [H, W]: those whose first pixel it holds; else the one of its middle.

        As interpolate(mode="nearest") chooses in Sa2VA, where a region that holds no such pixel is shown by nothing.
        """
        if self.encoder.look.fit == "crop":
            short = min(mask.shape)
            top, left = ((side - short) // 2 for side in mask.shape)
            mask = mask[top : top + short, left : left + short]
        sides = (num_rows, num_columns)
        rows, columns = (
            np.arange(side) * length // side for side, length in zip(sides, mask.shape, strict=True)
        )
        found = np.flatnonzero(mask[rows][:, columns]).tolist()
        if not found and mask.any():
            y, x = (int(np.median(places)) for places in np.nonzero(mask))
            found = [y * num_rows // mask.shape[0] * num_columns + x * num_columns // mask.shape[1]]
        return found

    def branch(self) -> Branch:
        def array(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
            return np.array(values, dtype=np.int64)

        return Branch(
            array(self.ids),
            array(self.labels),
            array(self.frame),
            array(self.patch),
            tuple(self.slots),
            np.concatenate(self.rotary, axis=1) if self.rotary else None,
        )
