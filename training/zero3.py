"""Whole weights out of ZeRO-3's shares. Elsewhere a rank holds every weight and there is nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def whole_weight(parameter: nn.Parameter) -> Iterator[None]:
    """The parameter's whole value under ZeRO-3; nothing to do elsewhere."""
    if not hasattr(parameter, "ds_id"):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters([parameter]):
        yield


@contextmanager
def whole_module(engine: Any) -> Iterator[None]:
    """A ZeRO-3 module as a plain one: weights gathered, partitioning hooks off (as TRL's `unwrap_model_for_generation` does)."""
    import deepspeed

    offload = engine.optimizer.parameter_offload
    with deepspeed.zero.GatheredParameters(list(engine.module.parameters())):
        for parameter in engine.module.parameters():
            parameter.ds_active_sub_modules.clear()
        for hook in (*offload.forward_hooks, *offload.backward_hooks):
            hook.remove()
        offload.forward_hooks, offload.backward_hooks = [], []
        try:
            yield
        finally:
            offload._register_deepspeed_module(offload.module)
