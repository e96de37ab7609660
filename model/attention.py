"""Which token may look at which, where one row holds several dialogues that share their beginnings.

A row is a forest: each example is a trunk (its shared prefix, branch 0) with branches 1, 2, ... behind it. A token looks at
itself and at what its own dialogue said before it, which is the trunk and its branch. Rotary positions go up along every
dialogue and start again at each branch, so "before" is a comparison of positions, whatever the layout of the row.
Axis letters: R rows, T tokens of a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


def allowed(group: Tensor, branch: Tensor, positions: Tensor) -> Tensor:
    """True where a query (second last axis) may look at a key (last axis).

    group, branch, positions: int64 [R, T] as in `Batch`. Returns bool [R, 1, T, T], on their device.
    A padding token looks at itself only, so that no softmax runs over nothing.
    """
    columns = torch.arange(group.shape[1], device=group.device)
    seen = _may_look(
        _queries(group), _keys(group), _queries(branch), _keys(branch), _queries(positions), _keys(positions)
    )
    return (seen | (columns[:, None] == columns[None, :])).unsqueeze(1)


def flex_mask(group: Tensor, branch: Tensor, positions: Tensor, *, block: int = 128) -> BlockMask:
    """The rule of `allowed` for FlexAttention, which skips the blocks in which nothing is allowed.

    block: side of a block in tokens; 128 is FlexAttention's own default.
    """
    from torch.nn.attention.flex_attention import create_block_mask

    def rule(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = _may_look(
            group[row, query],
            group[row, key],
            branch[row, query],
            branch[row, key],
            positions[row, query],
            positions[row, key],
        )
        return seen | (query == key)

    rows, length = group.shape
    return create_block_mask(rule, rows, None, length, length, device=str(group.device), BLOCK_SIZE=block)


def _may_look(
    group_q: Tensor,
    group_k: Tensor,
    branch_q: Tensor,
    branch_k: Tensor,
    position_q: Tensor,
    position_k: Tensor,
) -> Tensor:
    """The rule, once: same example, in the trunk or in the same branch, not later; padding is nobody's example."""
    related = (group_q == group_k) & (group_q >= 0) & ((branch_k == 0) | (branch_k == branch_q))
    return related & (position_q >= position_k)


def _queries(values: Tensor) -> Tensor:
    return values[:, :, None]


def _keys(values: Tensor) -> Tensor:
    return values[:, None, :]
