"""A module of two loss terms, as small as they come, that behaves as the engine's seam asks: for tests of the engine alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seglm.training.engine import Engine
from seglm.training.settings import Settings
from seglm.utils.answers import Output, Part

DIM = 6


@dataclass(frozen=True)
class Numbers:
    """A micro-batch: rows with one answer each, some of which also have a second answer (as some samples have masks)."""

    keys: tuple[str, ...]
    inputs: Tensor
    """float [B, DIM]"""
    has_second: Tensor
    """bool [B]"""

    def to(self, device: object) -> Numbers:
        return Numbers(self.keys, self.inputs.to(device), self.has_second.to(device))  # type: ignore[call-overload]


class TwoTerms(nn.Module):
    """A frozen layer, a trained one with dropout, and two heads; one term a head."""

    def __init__(self, *, dropout: float = 0.0, seed: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.frozen = nn.Linear(DIM, DIM).requires_grad_(False)
        self.body = nn.Linear(DIM, DIM)
        self.dropout = nn.Dropout(dropout)
        self.words = nn.Linear(DIM, 1)
        self.masks = nn.Linear(DIM, 3)
        self.register_buffer("shift", torch.ones(DIM))

    def forward(self, batch: Numbers, counts: Mapping[str, float] | None = None) -> Output:
        hidden = self.dropout(torch.tanh(self.body(self.frozen(batch.inputs) + self.shift)))
        words = (self.words(hidden)[:, 0] - batch.inputs.sum(1)).square().sum()
        # Every rank runs the head once, whatever it holds.
        rows = batch.has_second.nonzero()[:, 0]
        drawn = self.masks(hidden[rows] if len(rows) else hidden[:1])
        masks = (drawn - batch.inputs[rows, :3]).square().sum() if len(rows) else 0 * drawn.sum()
        parts = {"words": Part(words, len(batch.inputs)), "masks": Part(masks, len(rows))}
        loss = torch.zeros(())
        for name, part in parts.items():
            divisor = part.count if counts is None else counts[name]
            loss = loss + part.sum / divisor if divisor else loss + 0 * part.sum
        return Output(loss, parts)

    def counts(self, batch: Numbers) -> dict[str, int]:
        return {"words": len(batch.inputs), "masks": int(batch.has_second.sum())}


class WithDecoder(TwoTerms):
    """The same, one of whose heads is called as a mask decoder is."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__(dropout=dropout)
        self.decoder = nn.ModuleDict({"masks": self.masks})
        del self.masks

    @property
    def masks(self) -> nn.Module:  # type: ignore[override]
        return self.decoder["masks"]


class NumberSet(torch.utils.data.Dataset[tuple[str, Tensor, bool]]):
    """Sample n is a function of n."""

    def __getitem__(self, n: int) -> tuple[str, Tensor, bool]:
        generator = torch.Generator().manual_seed(1000 + n)
        return f"number/{n}", torch.randn(DIM, generator=generator), n % 4 in (0, 1)


def collate(samples: list[tuple[str, Tensor, bool]]) -> Numbers:
    keys, inputs, second = zip(*samples, strict=True)
    return Numbers(tuple(keys), torch.stack(inputs), torch.tensor(second))


class Gathering(Settings):
    """ZeRO-3 that keeps no weight whole: DeepSpeed does it below a size that no weight of a small model reaches."""

    def deepspeed(self, module: nn.Module) -> dict[str, Any]:
        config = super().deepspeed(module)
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return config


def kept_whole(engine: Engine) -> int:
    """How many weights are whole on this rank between two steps."""
    return sum(
        p.numel() == p.ds_numel if hasattr(p, "ds_numel") else True for p in engine.module.parameters()
    )
