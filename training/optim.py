"""The optimizer, its schedule, and how many images stand behind one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


FAR_BELOW = (
    0.5  # an effective batch under half of the recipe's, at an unchanged learning rate, is worth a warning
)


def adamw(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    waiting: Iterable[nn.Parameter] = (),
) -> torch.optim.AdamW:
    """PyTorch's AdamW. Given to DeepSpeed as the client's optimizer, so that DeepSpeed compiles none of its own.

    waiting: further parameters, which stay as they are for a while (`schedule`); they are a second group.
    Raises ValueError if nothing is to be trained, or nothing from the start.
    """
    import torch

    groups = [
        [parameter for parameter in group if parameter.requires_grad] for group in (parameters, waiting)
    ]
    if not any(groups):
        raise ValueError("no parameter is trained: check `trainable.full` and `trainable.lora` of the recipe")
    if not groups[0]:
        raise ValueError(
            "nothing but the mask decoder is trained, so it cannot wait: set optim.decoder_waits=0"
        )
    return torch.optim.AdamW(
        [{"params": group} for group in groups if group], lr=lr, betas=betas, weight_decay=weight_decay
    )


def first_step(share: float, *, total: int) -> int:
    """How many of `total` steps go by before what waits for this share of them."""
    return int(share * total)


def warmup_decay(step: int, *, total: int, warmup: int) -> float:
    """What the learning rate is multiplied with in optimizer step `step` (0 is the first).

    Linear warm-up, then linear decay towards 0: DeepSpeed's WarmupDecayLR(warmup_type="linear") to the letter
    (deepspeed/runtime/lr_schedules.py), which starts counting one step late, so that the first two steps have rate 0, and warms
    up for at least two steps.
    """
    warmup = max(2, warmup)
    iteration = max(0, step - 1)
    if iteration < warmup:
        return iteration / warmup
    return max(0.0, (total - iteration) / max(1.0, total - warmup))


def after_waiting(step: int, *, total: int, warmup: int, begin: int) -> float:
    """The same of weights that stay as they are in the first `begin` steps, and then have a warm-up of their own."""
    own = min(1.0, max(0, step - begin) / max(1, warmup))
    return own * warmup_decay(step, total=total, warmup=warmup)


def schedule(
    optimizer: torch.optim.Optimizer, *, total: int, warmup: int, begin: int = 0
) -> torch.optim.lr_scheduler.LambdaLR:
    """`warmup_decay` as a scheduler; it steps once after each optimizer step. begin: the first step of a second group."""
    import torch

    rates: list[Callable[[int], float]] = [
        partial(warmup_decay, total=total, warmup=warmup),
        partial(after_waiting, total=total, warmup=warmup, begin=begin),
    ]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, rates[: len(optimizer.param_groups)])


def scale_losses(zero_optimizer: Any, *, start: float = 2.0**16, window: int = 1000) -> None:
    """Turns on dynamic loss scaling for fp16 autocast inside DeepSpeed's ZeRO optimizer, whose weights are float32.

    DeepSpeed itself offers scaling only together with fp16 weights and a second float32 master. Its optimizers read the scaler
    from an attribute, skip a step whose gradients overflow, and save the scaler with their state; so the attribute is set.
    start, window: as in DeepSpeed's fp16 block: the first scale, and the steps without overflow after which it doubles.
    """
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler

    zero_optimizer.loss_scaler = DynamicLossScaler(
        init_scale=start, scale_window=window, min_scale=1.0, delayed_shift=1, consecutive_hysteresis=False
    )
    zero_optimizer.dynamic_loss_scale = True
    zero_optimizer.check_grad_overflow = True


def effective_batch(
    *, batch_size: int, accumulation: int, world_size: int, recipe_batch: int, lr_is_recipes: bool
) -> tuple[str, str | None]:
    """(a line that says how many images make one step, a warning or None).

    recipe_batch: the effective batch the recipe's learning rate was chosen for.
    """
    images = batch_size * accumulation * world_size
    line = (
        f"effective batch {images} images = batch_size {batch_size} x grad_accumulation_steps {accumulation}"
        f" x {world_size} processes (recipe: {recipe_batch})"
    )
    if images >= FAR_BELOW * recipe_batch or not lr_is_recipes:
        return line, None
    needed = max(1, round(recipe_batch / (batch_size * world_size)))
    return line, (
        f"effective batch {images} is far below the recipe's {recipe_batch} at an unchanged learning rate: gradients are noisier "
        f"and the run may learn nothing; set grad_accumulation_steps={needed}, or lower optim.lr"
    )
