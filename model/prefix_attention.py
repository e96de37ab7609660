"""SDPA for long rows: prefixes attend among themselves, and what stands behind one attends to it and to itself.

A mask over a row of T tokens asks for T * T scores. Of those of n dialogues behind one prefix most are thrown away: each against
the n - 1 others, and every token against all later ones. Here a layer makes two calls instead: a causal one for what stands
behind nothing, and one in which every dialogue has its own queries, and its prefix and itself as keys (Prefix Grouper,
arXiv 2506.05433). The result is that of the mask.
Letters: R rows, T tokens of a row, A sequences that stand alone, B dialogues behind a prefix, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seglm.model.attention import added, attention_mask, in_time
from seglm.utils.batch import Batch, Laid
from seglm.utils.imports import importing

NAME = "prefix"  # as transformers knows it, and `engine.attention`
LONG = 384  # tokens; a mask over shorter rows is as fast (docs/numbers.md)


@dataclass(frozen=True)
class Plan:
    """Who asks whom, as flat places (row * T + column), each list filled up with its last place."""

    alone: Tensor
    """int64 [A, P], prefixes, and dialogues that share none"""
    alone_mask: Tensor | None
    """[A, 1, P, P], added to the scores (`attention.added`); None: everything that is not later is seen"""
    asking: Tensor
    """int64 [B, Q], what is a dialogue's own"""
    seen: Tensor
    """int64 [B, K], its prefix, and behind it the same"""
    seen_mask: Tensor
    """[B, 1, Q, K]"""
    back: Tensor
    """int64 [R * T], where each token's answer stands among A * P and then B * Q; 0 for padding"""


def attend_by(config: Any, implementation: str) -> None:
    """The language model that is made from this config of transformers will attend so."""
    with importing():
        from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    config._attn_implementation = implementation


def how_to_attend(
    batch: Batch, *, implementation: str, dtype: torch.dtype, window: int | None = None
) -> dict[str, Any]:
    """The rule of `attention` as arguments of a language model of transformers. window: as in `attention.allowed`."""
    if implementation == NAME and batch.ids.shape[1] >= LONG:
        return {
            "attention_mask": None,
            "prefix_plan": plan(batch.laid, batch.positions, dtype, window=window),
        }
    return {
        "attention_mask": attention_mask(batch, implementation=implementation, dtype=dtype, window=window)
    }


def plan(laid: Sequence[Laid], positions: Tensor, dtype: torch.dtype, *, window: int | None = None) -> Plan:
    """laid, positions: as in `Batch`; window: as in `attention.allowed`. The tensors are on the device of `positions`."""
    rows, length = positions.shape
    behind = [one for one in laid if one.prefix[0] < one.prefix[1]]
    spans = [(one.row, *one.own) for one in laid if one.prefix[0] == one.prefix[1]]
    spans += sorted({(one.row, *one.prefix) for one in behind})
    alone, is_alone = _filled([_places(*span, length) for span in spans])
    own = [_places(one.row, *one.own, length) for one in behind]
    asking, _ = _filled(own)
    prefixes = [_places(one.row, *one.prefix, length) for one in behind]
    seen, is_seen = _filled([np.concatenate(pair) for pair in zip(prefixes, own, strict=True)])
    back = np.zeros(rows * length, np.int64)
    for places, first in ((alone, 0), (asking, alone.size)):
        # Backwards, so that of a place that fills up the first is kept.
        back[places.reshape(-1)[::-1]] = first + np.arange(places.size)[::-1]

    def sent(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(positions.device, non_blocking=True)

    def mask(query: Tensor, key: Tensor, is_there: NDArray[np.bool_]) -> Tensor:
        position_q, position_k = (positions.flatten()[places] for places in (query, key))
        seen_in_time = in_time(position_q[:, None, :, None], position_k[:, None, None], window)
        return added(seen_in_time & sent(is_there)[:, None, None], dtype)

    alone_at, asking_at, seen_at = sent(alone), sent(asking), sent(seen)
    reaches_all = window is None or window >= alone.shape[1]
    return Plan(
        alone=alone_at,
        alone_mask=None if reaches_all else mask(alone_at, alone_at, is_alone),
        asking=asking_at,
        seen=seen_at,
        seen_mask=mask(asking_at, seen_at, is_seen),
        back=sent(back),
    )


def _places(row: int, begin: int, end: int, length: int) -> NDArray[np.int64]:
    return np.arange(row * length + begin, row * length + end)


def _filled(lists: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """int64 [lists, longest], each filled up with its last value, and bool of the same shape: False where it was filled up."""
    lengths = np.array([len(one) for one in lists], np.int64)
    column = np.arange(lengths.max(initial=0))
    values = np.array([one[np.minimum(column, len(one) - 1)] for one in lists], np.int64)
    return values.reshape(len(lists), len(column)), column < lengths[:, None]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    prefix_plan: Plan | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """An attention of transformers' interface: query, key, value [R, H, T, d] -> [R, T, H, d].

    Without a plan it is SDPA under the mask, as for short rows and in a step of generation.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if prefix_plan is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **rest)
    by_token = [each.transpose(1, 2).flatten(0, 1) for each in (query, key, value)]  # each [R * T, H, d]

    def answers(queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """[N * Q, H, d]"""
        asks, holds, gives = (
            each.index_select(0, places.flatten()).unflatten(0, places.shape).transpose(1, 2)
            for each, places in zip(by_token, (queries, keys, keys), strict=True)
        )
        out: Tensor = sdpa_attention_forward(
            module, asks, holds, gives, mask, is_causal=mask is None, **rest
        )[0]
        return out.flatten(0, 1)

    at = prefix_plan
    found = [answers(at.alone, at.alone, at.alone_mask)]
    if at.asking.shape[0]:
        found.append(answers(at.asking, at.seen, at.seen_mask))
    rows, _, length, _ = query.shape
    return torch.cat(found).index_select(0, at.back).unflatten(0, (rows, length)), None
