"""How dialogues are laid out in rows of tokens, so that what they share is there once.

All dialogues about one clip are branches behind the prefix they share (system prompt, image, start of the question), which
stands in the row once; causal attention makes that exact. Layout of an example: prefix, branch 1, branch 2, ...
The prefix ends before the state that predicts the first trained token or slot of any branch, so every state that is read
belongs to one branch and `place - 1` is always the previous token of the same dialogue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from seglm.utils.batch import Bound, Laid
from seglm.utils.types import IGNORE_LABEL, Branch, Example

TEXT = -1  # `Branch.frame` of a text token


def shared_prefix(branches: Sequence[Branch]) -> int:
    """How many leading tokens the branches of one example may share, 0 for a single branch.

    They are equal in (id, frame, patch) in all branches; every branch keeps at least one token, and at least the state
    that predicts its first trained token or slot.
    """
    if len(branches) < 2:
        return 0
    limit = min(min(len(one.ids), _first_read(one)) - 1 for one in branches)
    first = branches[0]
    for other in branches[1:]:
        for name in ("ids", "frame", "patch"):
            left, right = getattr(first, name)[: max(limit, 0)], getattr(other, name)[: max(limit, 0)]
            different = np.flatnonzero(left != right)
            limit = int(different[0]) if len(different) else limit
    return max(limit, 0)


def _first_read(branch: Branch) -> int:
    """The first position that is trained or holds a slot; the length if none is."""
    trained = np.flatnonzero(branch.labels != IGNORE_LABEL)
    return int(min([len(branch.ids), *trained[:1], *(placed.place for placed in branch.slots)]))


@dataclass(frozen=True)
class Stem:
    """What is laid out together: branches of one example behind their shared prefix."""

    example: int
    numbers: tuple[int, ...]
    """which branches of the example"""
    branches: tuple[Branch, ...]
    prefix: int

    @property
    def length(self) -> int:
        return self.prefix + sum(len(branch.ids) - self.prefix for branch in self.branches)


def stems_of(examples: Sequence[Example], share_prefix: bool) -> Iterator[Stem]:
    for number, example in enumerate(examples):
        if share_prefix:
            prefix = shared_prefix(example.branches)
            yield Stem(number, tuple(range(len(example.branches))), example.branches, prefix)
        else:
            for branch_number, branch in enumerate(example.branches):
                yield Stem(number, (branch_number,), (branch,), 0)


def rows_of(stems: list[Stem], row_tokens: int | None) -> list[list[Stem]]:
    """Stems by row; the layout is a function of the examples alone.

    All rows are as long as the longest, so what counts is rows x length: the least of it with no row above `row_tokens`, or above
    the longest stem if that is longer. None: a row each.
    """
    if row_tokens is None:
        return [[stem] for stem in stems]
    most = max(row_tokens, *(stem.length for stem in stems))
    layouts = [_even(stems, count) for count in range(1, len(stems) + 1)]
    lengths = [max(sum(stem.length for stem in row) for row in rows) for rows in layouts]
    fitting = [pair for pair in zip(lengths, layouts, strict=True) if pair[0] <= most]
    return min(fitting, key=lambda pair: (pair[0] * len(pair[1]), pair[0]))[1]


def _even(stems: Sequence[Stem], count: int) -> list[list[Stem]]:
    """So many rows, none empty, of about one length: the longest stem first, each into the emptiest row."""
    rows: list[list[Stem]] = [[] for _ in range(count)]
    filled = [0] * count
    for stem in sorted(stems, key=lambda stem: -stem.length):
        emptiest = filled.index(min(filled))
        rows[emptiest].append(stem)
        filled[emptiest] += stem.length
    in_order = (sorted(row, key=lambda stem: stem.example) for row in rows)
    return sorted(in_order, key=lambda row: row[0].example)


@dataclass
class Rows:
    """The token side of a batch while it is laid out."""

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    group: NDArray[np.int64]
    branch: NDArray[np.int64]
    image_at: list[int] = field(default_factory=list)
    image_frame: list[int] = field(default_factory=list)
    image_patch: list[int] = field(default_factory=list)
    labelled_at: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    rotary: NDArray[np.int64] | None = None
    laid: dict[tuple[int, int], Laid] = field(default_factory=dict)
    """(example, branch) -> where it stands"""

    @staticmethod
    def of(rows: list[list[Stem]], examples: Sequence[Example]) -> Rows:
        shape = (len(rows), max(sum(stem.length for stem in row) for row in rows))
        zero = np.zeros(shape, np.int64)
        text = Rows(zero, zero.copy(), np.full(shape, -1, np.int64), zero.copy())
        if any(branch.rotary is not None for example in examples for branch in example.branches):
            text.rotary = np.zeros((3, *shape), np.int64)
        first_seen = list(accumulate((len(example.vision) for example in examples), initial=0))
        for row, stems in enumerate(rows):
            column = 0
            for stem in stems:
                text._lay(stem, row, column, first_seen[stem.example])
                column += stem.length
        return text

    def _lay(self, stem: Stem, row: int, column: int, first_seen: int) -> None:
        """Writes a stem: its prefix from the first branch, then the rest of each branch."""
        prefix = stem.prefix
        self._write(
            stem.branches[0], 0, prefix, row, column, group=stem.example, branch=0, first_seen=first_seen
        )
        shared = (column, column + prefix)
        column += prefix
        for number, branch in zip(stem.numbers, stem.branches, strict=True):
            length = len(branch.ids)
            laid = Laid(stem.example, row, shared, (column, column + length - prefix))
            self.laid[stem.example, number] = laid
            self._write(
                branch,
                prefix,
                length,
                row,
                column,
                group=stem.example,
                branch=number + 1,
                first_seen=first_seen,
            )
            trained = np.flatnonzero(branch.labels != IGNORE_LABEL)
            self.labelled_at += (row * self.ids.shape[1] + laid.origin + trained - 1).tolist()
            self.labels += branch.labels[trained].tolist()
            column += length - prefix

    def _write(
        self,
        source: Branch,
        left: int,
        right: int,
        row: int,
        column: int,
        *,
        group: int,
        branch: int,
        first_seen: int,
    ) -> None:
        """Tokens left to right of a dialogue, at a column of a row."""
        here = (row, slice(column, column + right - left))
        self.ids[here] = source.ids[left:right]
        self.positions[here] = np.arange(left, right)
        if self.rotary is not None and source.rotary is not None:
            self.rotary[:, row, column : column + right - left] = source.rotary[:, left:right]
        self.group[here] = group
        self.branch[here] = branch
        shown = left + np.flatnonzero(source.frame[left:right] != TEXT)
        self.image_at += (row * self.ids.shape[1] + column - left + shown).tolist()
        self.image_frame += (first_seen + source.frame[shown]).tolist()
        self.image_patch += source.patch[shown].tolist()

    def dialogues(self) -> tuple[Laid, ...]:
        """Where each stands, all examples in order."""
        return tuple(laid for _, laid in sorted(self.laid.items()))

    def slots(self, examples: Sequence[Example], first_drawn: list[int]) -> tuple[Bound, ...]:
        """Every slot of every branch, in order, with its place in the rows."""
        bound: list[Bound] = []
        for (example, branch), laid in sorted(self.laid.items()):
            for placed in examples[example].branches[branch].slots:
                frames = tuple(first_drawn[example] + frame for frame in placed.slot.frames)
                slot = placed.slot
                bound.append(
                    Bound(
                        slot.token,
                        example,
                        branch,
                        slot.target,
                        laid.row,
                        laid.origin + placed.place,
                        frames,
                        placed.word_id,
                        slot.value,
                    )
                )
        return tuple(bound)
