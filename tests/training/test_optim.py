from __future__ import annotations

import pytest
import torch
from torch import nn

from seglm.training import optim


@pytest.mark.parametrize("total, warmup", [(10, 3), (12, 0), (5, 1), (20, 19), (8, 30)])
def test_the_schedule_is_deepspeeds_own_warmup_decay(total: int, warmup: int) -> None:
    from deepspeed.runtime.lr_schedules import WarmupDecayLR

    def optimizer() -> torch.optim.AdamW:
        return optim.adamw(nn.Linear(2, 2).parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0)

    ours, theirs = optimizer(), optimizer()
    our = optim.schedule(ours, total=total, warmup=warmup)
    their = WarmupDecayLR(
        theirs, total, warmup_max_lr=3e-4, warmup_num_steps=max(1, warmup), warmup_type="linear"
    )
    for _ in range(total + 2):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12, abs=1e-18)
        ours.step()
        our.step()
        their.step()


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no parameter is trained: check `trainable\.full`"):
        optim.adamw(nn.Linear(2, 2).requires_grad_(False).parameters(), lr=1, betas=(0, 0), weight_decay=0)


def test_what_waits_has_a_warm_up_of_its_own_and_then_the_rate_of_the_others() -> None:
    head, later = nn.Linear(2, 2), nn.Linear(2, 2)
    ours = optim.adamw(
        head.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0, waiting=later.parameters()
    )
    rates = optim.schedule(ours, total=20, warmup=4, begin=8)
    first, second = [], []
    for _ in range(20):
        first.append(ours.param_groups[0]["lr"])
        second.append(ours.param_groups[1]["lr"])
        ours.step()
        rates.step()
    assert second[:9] == [0.0] * 9
    assert second[9:12] == pytest.approx([part * rate for part, rate in zip((0.25, 0.5, 0.75), first[9:])])
    assert second[12:] == first[12:] and first[12] > 0
    with pytest.raises(ValueError, match=r"nothing but the mask decoder is trained.*optim\.decoder_waits=0"):
        optim.adamw((), lr=1, betas=(0, 0), weight_decay=0, waiting=later.parameters())


@pytest.mark.parametrize(
    "size, unchanged, warns",
    [
        ((2, 10, 8), True, False),
        ((2, 10, 1), True, True),
        ((2, 10, 1), False, False),  # who chose another rate knows what he does
        ((2, 10, 4), True, False),
    ],
)
def test_an_effective_batch_far_below_the_recipes_is_warned_of(
    size: tuple[int, int, int], unchanged: bool, warns: bool
) -> None:
    batch_size, accumulation, world_size = size
    line, warning = optim.effective_batch(
        batch_size=batch_size,
        accumulation=accumulation,
        world_size=world_size,
        recipe_batch=160,
        lr_is_recipes=unchanged,
    )
    assert line.startswith(f"effective batch {batch_size * accumulation * world_size} images")
    assert (warning is not None) == warns
    if warning:
        assert "grad_accumulation_steps=80" in warning
