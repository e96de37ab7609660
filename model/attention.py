"""Which token may look at which, where one row holds several dialogues that share their beginnings.

A row is a forest: each example is a trunk (its shared prefix, branch 0) with branches 1, 2, ... behind it. A token looks at
itself and at what its own dialogue said before it, which is the trunk and its branch. Rotary positions go up along every
dialogue and start again at each branch, so "before" is a comparison of positions, whatever the layout of the row.
Axis letters: R rows, T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from seglm.utils.batch import Batch

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn.attention.flex_attention import BlockMask

    from seglm.model.settings import Engine


IMPLEMENTATION = {"flex": "flex_attention"}


def implementation(engine: Engine) -> str:
    """transformers' name of the attention to use.

    `auto` is SDPA that knows of shared prefixes (`prefix_attention`), or flash-attn where it is installed with a GPU and
    nothing is shared. Raises ImportError, with the install line, if flash-attn is asked for and absent.
    """
    import torch
    from transformers.utils import is_flash_attn_2_available

    flash = torch.cuda.is_available() and is_flash_attn_2_available()
    if engine.attention == "auto":
        return "flash_attention_2" if flash and not (engine.share_prefix or engine.row_tokens) else "prefix"
    if engine.attention == "flash_attention_2" and not flash:
        raise ImportError(
            "engine.attention=flash_attention_2 needs flash-attn and a GPU; install it after torch with: "
            "pip install flash-attn --no-build-isolation (or use engine.attention=sdpa)"
        )
    return IMPLEMENTATION.get(engine.attention, engine.attention)


def check(engine: Engine, device: torch.device, *, to_train: bool) -> None:
    """Raises ValueError for an attention that the device or the layout of rows does not allow; ImportError, see above."""
    chosen = implementation(engine)
    shares = [f"engine.{name}" for name in ("share_prefix", "row_tokens") if getattr(engine, name)]
    if chosen == "flash_attention_2" and shares:
        raise ValueError(
            f"engine.attention={engine.attention} takes one dialogue a row, and {' and '.join(shares)} put several "
            "into one; set engine.share_prefix=false engine.row_tokens=0, or engine.attention=sdpa or flex"
        )
    if to_train and engine.attention == "flex" and device.type == "cpu":
        raise ValueError(
            "engine.attention=flex has no backward pass on a CPU; use engine.attention=sdpa there"
        )


def attention_mask(
    batch: Batch, *, implementation: str, dtype: torch.dtype, window: int | None = None
) -> Any:
    """The rule in the form that transformers' attention `implementation` takes.

    window: as in `allowed`; flash attention takes it from the model's own config.

    sdpa, prefix and eager: [R, 1, T, T], see `added`. flex_attention: a BlockMask. flash_attention_2: bool [R, T] of real
    tokens; its kernels know causal rows only, so every dialogue needs a row of its own. That it and rows of several dialogues,
    which it would mix, do not meet is seen to by `check`.
    """
    if implementation == "flex_attention":
        return flex_mask(batch.group, batch.branch, batch.positions, window=window)
    if implementation == "flash_attention_2":
        assert len(batch.laid) == batch.ids.shape[0], f"several dialogues share a row: samples {batch.keys}"
        return batch.group >= 0
    free = allowed(batch.group, batch.branch, batch.positions, window=window)
    return as_mask(free, implementation=implementation, dtype=dtype)


def as_mask(free: Tensor, *, implementation: str, dtype: torch.dtype) -> Tensor:
    """bool [R, 1, Q, T] for an attention that takes a mask over (query, key): `added`.

    Raises ValueError for an implementation that takes none; see `any_mask`.
    """
    if implementation == "flash_attention_2":
        raise ValueError(
            f"attention {implementation!r} takes no mask over (query, key); run it inside `any_mask(llm)`"
        )
    return added(free, dtype)


def added(free: Tensor, dtype: torch.dtype) -> Tensor:
    """bool -> 0 where it is True and the lowest number elsewhere, of the same shape: what is added to the scores.

    SDPA takes bool as well, and turns it into this in every layer.
    """
    import torch

    lowest = torch.finfo(dtype).min
    return torch.zeros(free.shape, dtype=dtype, device=free.device).masked_fill_(~free, lowest)


@contextmanager
def any_mask(llm: Any) -> Iterator[None]:
    """Inside, the language model attends by SDPA if its own kernels know causal rows only (flash attention).

    Generation needs it: a step appends one token to each of several dialogues of a row.
    """
    own = llm.config._attn_implementation
    llm.config._attn_implementation = "sdpa" if own == "flash_attention_2" else own
    try:
        yield
    finally:
        llm.config._attn_implementation = own


def allowed(
    group: Tensor,
    branch: Tensor,
    positions: Tensor,
    *,
    queries: int | None = None,
    window: int | None = None,
) -> Tensor:
    """True where a query (second last axis) may look at a key (last axis).

    group, branch, positions: int64 [R, T] as in `Batch`. queries: only the last Q columns ask, as in a step of generation; all
    of them if None. window: a token sees so many of its dialogue's latest tokens, itself among them; all of them if None.
    Returns bool [R, 1, Q, T], on their device.
    A padding token looks at itself only, so that no softmax runs over nothing.
    """
    import torch

    columns = torch.arange(group.shape[1], device=group.device)
    last = slice(0 if queries is None else group.shape[1] - queries, None)
    seen = _may_look(
        group[:, last, None],
        group[:, None],
        branch[:, last, None],
        branch[:, None],
        positions[:, last, None],
        positions[:, None],
        window,
    )
    return (seen | (columns[last, None] == columns)).unsqueeze(1)


def flex_mask(
    group: Tensor, branch: Tensor, positions: Tensor, *, block: int = 128, window: int | None = None
) -> BlockMask:
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
            window,
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
    window: int | None,
) -> Tensor:
    """The rule, once: same example, in the trunk or in the same branch, not later and not too long ago; padding is nobody's
    example.
    """
    related = (group_q == group_k) & (group_q >= 0) & ((branch_k == 0) | (branch_k == branch_q))
    return related & in_time(position_q, position_k, window)


def in_time(position_q: Tensor, position_k: Tensor, window: int | None) -> Tensor:
    """Of two tokens of one dialogue: the key is not later, and not too long ago."""
    seen = position_q >= position_k
    return seen if window is None else seen & (position_q - position_k < window)
