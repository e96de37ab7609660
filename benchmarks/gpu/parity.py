"""The same loss and gradients whatever computes them: the device's kernels against float32 on the CPU, at tiny size."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench, no_attention
from benchmarks.gpu.record import Row
from benchmarks.sizes import TINY, attend, examples_of, recipe_of, segmenter
from seglm.dataset.collate import collate
from seglm.model.precision import Precision
from seglm.model.segmenter import Segmenter

LIMITS: dict[str, tuple[float, float]] = {"fp32": (1e-5, 1e-4), "bf16": (2e-2, 1e-1)}
"""largest relative difference of the loss, and of the gradients as one vector: |dg| / |g|"""


@dataclass(frozen=True)
class _Variant:
    attention: str
    """by transformers' name"""
    precision: Precision
    share_prefix: bool = True
    row_tokens: int | None = None

    @property
    def name(self) -> str:
        rows = "one dialogue a row" if not self.share_prefix else "packed" if self.row_tokens else "shared"
        return f"{self.attention} {self.precision}, {rows}"


PACKED = 256  # tokens of a row, at tiny size two images
VARIANTS = (
    _Variant("sdpa", "fp32"),
    _Variant("sdpa", "fp32", row_tokens=PACKED),
    _Variant("sdpa", "fp32", share_prefix=False),
    _Variant("eager", "fp32"),
    _Variant("sdpa", "bf16"),
    _Variant("flash_attention_2", "bf16", share_prefix=False),
    _Variant("flex_attention", "fp32"),
    _Variant("flex_attention", "bf16", row_tokens=PACKED),
)


def parity(bench: Bench) -> Generator[Row, None, None]:
    """Loss and gradients of every kind of attention against SDPA in float32 on the CPU."""
    # cuDNN takes TF32 for convolutions unless it is told not to, and TF32 is not float32.
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield from _compared_with_the_cpu(bench)
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _compared_with_the_cpu(bench: Bench) -> Generator[Row, None, None]:
    model = segmenter(TINY, recipe_of(TINY))
    loss, gradients = _backward(model, _Variant("sdpa", "fp32"), "cpu")
    weights = model.state_dict()
    for variant in VARIANTS:
        if reason := no_attention(variant.attention, bench.device):
            yield Row(variant.name, {"verdict": f"skipped: {reason}"})
        else:
            yield bench.attempt(
                variant.name, partial(_compared, variant, bench.device, weights, loss, gradients)
            )


def _compared(
    variant: _Variant, device: str, weights: dict[str, Tensor], loss: float, gradients: Tensor
) -> Row:
    model = segmenter(TINY, recipe_of(TINY, precision=variant.precision), device=device)
    model.load_state_dict(weights)
    attend(model, variant.attention)
    found, vector = _backward(model, variant, device)
    off = abs(found - loss) / abs(loss)
    turned = float((vector - gradients).norm() / gradients.norm())
    good = off <= LIMITS[variant.precision][0] and turned <= LIMITS[variant.precision][1]
    numbers = {"loss off by": off, "gradients off by": turned, "verdict": "agrees" if good else "DIFFERS"}
    return Row(variant.name, numbers, failed=not good)


def _backward(model: Segmenter, variant: _Variant, device: str) -> tuple[float, Tensor]:
    """The loss, and all gradients as one float64 vector on the CPU."""
    batch = collate(examples_of(TINY), share_prefix=variant.share_prefix, row_tokens=variant.row_tokens).to(
        device
    )
    loss: Tensor = model(batch).loss
    loss.backward()
    flat = [p.grad.flatten().double().cpu() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(flat)
