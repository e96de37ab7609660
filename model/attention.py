"""Who may attend to whom in a row that holds a shared prefix and several dialogues behind it.

One rule everywhere, in training and in generation: a token sees itself and what stands before it in its own dialogue or in the
prefix of its own example. Padding sees only itself, so that no row of the softmax is empty.
Letters: R rows, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seglm.utils.types import Batch


def allowed(group: Tensor, branch: Tensor, *, queries: int | None = None) -> Tensor:
    """The rule as bool [R, 1, Q, T]; True where a query may look.

    group: int64 [R, T], the example, negative on padding. branch: int64 [R, T], 0 in the prefix. Columns are in causal order.
    queries: only the last Q columns ask (all of them if None), as in a step of generation.
    """
    columns = torch.arange(group.shape[1], device=group.device)
    first = 0 if queries is None else group.shape[1] - queries
    asking_group, asking_branch, asking = group[:, first:, None], branch[:, first:, None], columns[first:, None]
    before = columns[None, :] <= asking
    same = (asking_group == group[:, None]) & (asking_group >= 0)
    reachable = (branch[:, None] == 0) | (branch[:, None] == asking_branch)
    return ((before & same & reachable) | (columns[None, :] == asking)).unsqueeze(1)


def attention_mask(batch: Batch, *, implementation: str, dtype: torch.dtype) -> Any:
    """The rule in the form that transformers' attention `implementation` takes.

    sdpa: bool [R, 1, T, T]. eager: the same as 0 and the lowest `dtype`. flex_attention: a BlockMask. flash_attention_2: bool
    [R, T] of real tokens, for rows that hold one dialogue each (collate with share_prefix=False).
    """
    if implementation == "flex_attention":
        return _block_mask(batch.group, batch.branch)
    if implementation == "flash_attention_2":
        return batch.group >= 0
    return as_mask(allowed(batch.group, batch.branch), implementation=implementation, dtype=dtype)


def as_mask(free: Tensor, *, implementation: str, dtype: torch.dtype) -> Tensor:
    """bool [R, 1, Q, T] as it is for SDPA, additive in `dtype` for eager attention."""
    if implementation != "eager":
        return free
    return torch.zeros(free.shape, dtype=dtype, device=free.device).masked_fill_(~free, torch.finfo(dtype).min)


def _block_mask(group: Tensor, branch: Tensor) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    def rule(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = (group[row, query] == group[row, key]) & (group[row, query] >= 0)
        reachable = (branch[row, key] == 0) | (branch[row, key] == branch[row, query])
        return ((query >= key) & same & reachable) | (query == key)

    rows, columns = group.shape
    return create_block_mask(rule, rows, None, columns, columns, device=group.device)
