"""The training step of LISA-7B: ours in several forms, and the original's schedule on the same weights, in one run."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import replica
from benchmarks.gpu.bench import Bench, largest, no_attention
from benchmarks.gpu.flops import executed, least, units
from benchmarks.gpu.record import Number, Row
from benchmarks.sizes import attend, checkpointing
from seglm.dataset.collate import collate
from seglm.training.optim import adamw
from seglm.utils.batch import Batch
from seglm.utils.types import Example

ORIGINALS_BATCH = 2  # images in a micro-batch of the released script
ROW_TOKENS = 1024
REPEATS = {"ours": 5, "original": 2}


@dataclass(frozen=True)
class Variant:
    name: str
    side: str = "ours"
    """ours or original"""
    attention: str = "sdpa"
    """by transformers' name"""
    checkpointing: bool = False
    share_prefix: bool = True
    row_tokens: int | None = None


VARIANTS = (
    Variant("ours"),
    Variant("the original's schedule (eager, checkpointing)", "original", "eager", checkpointing=True),
    Variant("ours, checkpointing", checkpointing=True),
    Variant("ours, nothing shared", share_prefix=False),
    Variant("ours, nothing shared, checkpointing", share_prefix=False, checkpointing=True),
    Variant(f"ours, rows of {ROW_TOKENS} tokens", row_tokens=ROW_TOKENS),
    Variant("the original's schedule with SDPA", "original", "sdpa", checkpointing=True),
    Variant(f"ours, FlexAttention, rows of {ROW_TOKENS} tokens", attention="flex_attention", row_tokens=ROW_TOKENS),
    Variant("ours, flash-attn, nothing shared", attention="flash_attention_2", share_prefix=False),
)  # fmt: skip


class Trainer:
    """A model with its optimizer. The learning rate is zero, so that every variant meets the same weights."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.model = bench, bench.model
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = adamw(self.trained, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)

    def step(self, backward: Callable[[], Tensor]) -> Tensor:
        """One optimizer step; returns the detached loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return loss

    def ours(self, batches: Sequence[Batch], counts: Mapping[str, float]) -> Tensor:
        """Every micro-batch divided by the counts of the whole step."""
        total = torch.zeros((), device=self.bench.device)
        for batch in batches:
            loss = self.model(batch.to(self.bench.device), counts).loss
            loss.backward()
            total += loss.detach()
        return total

    def original(self, parts: Sequence[Sequence[Example]]) -> Tensor:
        """The mean of the micro-batches' losses; each loss is read on the host, as the released loop does to print it."""
        total = torch.zeros((), device=self.bench.device)
        for part in parts:
            loss = replica.training_loss(self.model, part) / len(parts)
            loss.backward()
            loss.item()
            total += loss.detach()
        return total

    def backward(self, variant: Variant, images: int) -> Callable[[], Tensor]:
        """Forward and backward of the whole step in micro-batches of so many images; ours are laid out and pinned beforehand,
        as the loader's processes do it.
        """
        examples = self.bench.examples
        parts = [examples[first : first + images] for first in range(0, len(examples), images)]
        if variant.side == "original":
            return partial(self.original, parts)
        batches = [
            collate(part, share_prefix=variant.share_prefix, row_tokens=variant.row_tokens) for part in parts
        ]
        if self.bench.device == "cuda":
            batches = [batch.pin_memory() for batch in batches]
        counts: Counter[str] = Counter()
        for batch in batches:
            counts.update(self.model.counts(batch))
        return partial(self.ours, batches, {name: float(count) for name, count in counts.items()})

    def prepare(self, variant: Variant) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        checkpointing(self.model, variant.checkpointing)
        attend(self.model, variant.attention)


def training(bench: Bench) -> Generator[Row, None, None]:
    """One optimizer step of the size's images: forward, backward, clipping, AdamW on float32 weights."""
    trainer = Trainer(bench)
    minimum = least(bench.size, bench.examples, units(bench.model, bench.examples[0]))
    try:
        for variant in VARIANTS:
            if reason := no_attention(variant.attention, bench.device):
                yield Row(variant.name, {"note": f"skipped: {reason}"})
            else:
                yield bench.attempt(variant.name, partial(_timed, trainer, variant, minimum))
    finally:  # also where time is over: the parts behind use the same model
        trainer.prepare(Variant("as before"))


def _timed(trainer: Trainer, variant: Variant, minimum: int) -> Row:
    bench, number = trainer.bench, len(trainer.bench.examples)
    trainer.prepare(variant)
    sizes = [ORIGINALS_BATCH] if variant.side == "original" else _halves(number)

    def run(images: int) -> tuple[float, int | None, float, float | None]:
        backward = trainer.backward(variant, images)
        loss = float(trainer.step(backward))
        # PyTorch's counter looks at single operations, which a compiled or foreign kernel is not.
        counted = executed(lambda: trainer.step(backward)) if variant.attention in ("sdpa", "eager") else None
        bench.clock.forget()
        seconds = bench.clock.seconds(lambda: trainer.step(backward), repeats=REPEATS[variant.side])
        return loss, counted, seconds, bench.clock.peak()

    images, (loss, counted, seconds, peak) = largest(sizes, run)
    share = 100 / seconds / bench.ceiling
    numbers: dict[str, Number] = {
        "images at once": str(images),
        "s a step": seconds,
        "images/s": number / seconds,
        "TFLOP executed": None if counted is None else counted / 1e12,
        "TFLOP needed": minimum / 1e12,
        "MFU executed %": None if counted is None else counted * share,
        "MFU needed %": minimum * share,
        "peak GiB": peak,
        "loss": loss,
    }
    return Row(variant.name, numbers)


def _halves(number: int) -> list[int]:
    sizes = [number]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes


# ---- host syncs ------------------------------------------------------------------------------------------------------
def needs_gpu(bench: Bench) -> str:
    return "" if bench.device == "cuda" else "a CPU waits for nothing; needs a GPU"


def syncs(bench: Bench) -> Generator[Row, None, None]:
    """How often the host waits for the device in one step of two images, and where most."""
    trainer = Trainer(bench)
    try:
        for variant in VARIANTS[:2]:
            yield bench.attempt(variant.name, partial(_counted, trainer, variant))
    finally:
        trainer.prepare(Variant("as before"))


def _counted(trainer: Trainer, variant: Variant) -> Row:
    trainer.prepare(variant)
    backward = trainer.backward(variant, ORIGINALS_BATCH)
    trainer.step(backward)  # what is done once is not counted
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.step(backward)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = Counter(
        f"{Path(one.filename).name}:{one.lineno}"
        for one in caught
        if re.search("synchroniz", str(one.message))
    )
    most = ", ".join(f"{place} x{count}" for place, count in places.most_common(6))
    micro = -(-len(trainer.bench.examples) // ORIGINALS_BATCH)
    total = sum(places.values())
    return Row(
        variant.name,
        {"syncs": float(total), "in a micro-batch": total / micro, "where": most or "nowhere"},
    )
